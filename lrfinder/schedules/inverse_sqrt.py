"""Fall with the square root of time."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from pydantic import Field

from lrfinder.schedules.base import Schedule

_WITHOUT_WARMUP = 10_000  # updates: what Hugging Face's `inverse_sqrt` takes there


def decay(u: int, length: int, *, scale: int) -> float:  # noqa: ARG001 - it needs no length
    """Return sqrt(scale / (u + scale))."""
    return math.sqrt(scale / (u + scale))


class InverseSqrt(Schedule):
    """The peak times the square root of `timescale` over the time since, the timescale counted in.

    factor(t) = sqrt(timescale / (u + timescale))        u = t - W, in updates

    `timescale` is W by default, or 10,000 updates without a warm-up, as in Hugging Face's `inverse_sqrt`. With the
    default, factor(t) = sqrt(W / t). It never reaches zero and needs no length; past the end it is held.

    Vaswani et al., arXiv:1706.03762, scaled to a peak; fairseq's and T5's schedule.
    """

    advice: ClassVar[str] = "pretraining transformers without a fixed length"
    formula = staticmethod(decay)
    name: Literal["inverse-sqrt"] = "inverse-sqrt"
    timescale: int | None = Field(default=None, ge=1)

    @property
    def scale(self) -> int:
        """The timescale in updates, also if none was given."""
        return self.timescale if self.timescale is not None else self.warmup or _WITHOUT_WARMUP
