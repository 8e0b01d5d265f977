"""Fall along half a cosine wave from the peak to a final share of it."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from pydantic import Field

from lrfinder.schedules.base import Schedule, progress


class Cosine(Schedule):
    """Half a cosine wave from the peak to `final` times the peak: slow, fast, slow.

    factor(t) = final + (1 - final) * (1 + cos(pi * u / D)) / 2        u = t - W, D = T - W, in updates

    `final` is the rate at t = T over the peak, 0 ... 1 (default 0). Past the end `final` is held; torch's
    `CosineAnnealingLR` would rise again there.

    SGDR without restarts: Loshchilov & Hutter, arXiv:1608.03983.
    """

    advice: ClassVar[str] = "a run of known length that should stay near the peak longer than linear does"
    name: Literal["cosine"] = "cosine"
    final: float = Field(default=0.0, ge=0, le=1)

    def decay(self, u: int, length: int) -> float:
        """Return final + (1 - final) * (1 + cos(pi * u / D)) / 2."""
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * progress(u, length))) / 2
