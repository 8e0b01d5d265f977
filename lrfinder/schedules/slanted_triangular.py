"""A short rise, and a long way down."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, Self

from pydantic import Field

from lrfinder.schedules.base import Schedule

_ROUNDING = 1e-9  # updates: 0.29 * 100 is 28.999999999999996, and means 29


def decay(u: int, length: int, *, cut: int, ratio: float) -> float:
    """Return (1 + p (ratio - 1)) / ratio."""
    p = u / cut if u < cut else (length - u) / (length - cut)
    return (1 + p * (ratio - 1)) / ratio


class SlantedTriangular(Schedule):
    """One line up over a share `rise` of the run, one line down over the rest of it.

    factor(t) = (1 + p (ratio - 1)) / ratio            u = t, T = steps, cut = floor(rise * T), in updates
    p = u / cut                   for u < cut
    p = (T - u) / (T - cut)       for u >= cut

    It starts at 1 / ratio, is at the peak with update `cut`, and is back at 1 / ratio at t = T, which is held.
    Defaults: rise 0.1 (`cut_frac`), ratio 32. In a run too short for a rise, cut = 0, it starts at the peak. The rise
    is its own warm-up, so `warmup` must be 0; `linear` with warmup = cut, warmup_start = final = 1 / ratio is the same.

    The published fall is over after cut / rise updates, which is T but for the rounding of the cut.

    ULMFiT: Howard & Ruder, arXiv:1801.06146.
    """

    advice: ClassVar[str] = "fine-tuning a pretrained language model for a few epochs"
    rises_itself: ClassVar[bool] = True
    formula = staticmethod(decay)
    name: Literal["slanted-triangular"] = "slanted-triangular"
    rise: float = Field(default=0.1, ge=0, lt=1)
    ratio: float = Field(default=32.0, ge=1)

    @property
    def cut(self) -> int:
        """The update that is at the peak."""
        return min(math.floor(self.rise * self.steps + _ROUNDING), self.steps - 1)

    @classmethod
    def for_run(cls, *, steps: int, warmup: int) -> Self:
        """Return the published one; it has a rise of its own, whatever `warmup` says."""
        del warmup
        return cls(steps=steps)
