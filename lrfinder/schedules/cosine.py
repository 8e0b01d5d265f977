"""Fall along half a cosine wave from the peak to a final share of it."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from pydantic import Field

from lrfinder.schedules.base import Schedule


def decay(u: int, length: int, *, final: float) -> float:
    """Return final + (1 - final) * (1 + cos(pi x)) / 2, x = u / length."""
    x = u / length if length else 0.0
    return final + (1 - final) * (1 + math.cos(math.pi * x)) / 2


class Cosine(Schedule):
    """Half a cosine wave from the peak to `final` times the peak: slow, fast, slow.

    factor(t) = final + (1 - final) * (1 + cos(pi * u / D)) / 2        u = t - W, D = T - W, in updates

    `final` is the rate at t = T over the peak, 0 ... 1 (default 0). Past the end `final` is held; torch's
    `CosineAnnealingLR` would rise again there.

    SGDR without restarts: Loshchilov & Hutter, arXiv:1608.03983.
    """

    advice: ClassVar[str] = "a run of known length that should stay near the peak longer than linear does"
    formula = staticmethod(decay)
    name: Literal["cosine"] = "cosine"
    final: float = Field(default=0.0, ge=0, le=1)
