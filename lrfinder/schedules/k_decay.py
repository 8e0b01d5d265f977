"""A cosine that stays high for longer."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from pydantic import Field

from lrfinder.schedules.base import Schedule


def decay(u: int, length: int, *, k: float, final: float) -> float:
    """Return final + (1 - final) * (1 + cos(pi x ** k)) / 2, x = u / length."""
    x = u / length if length else 0.0
    return final + (1 - final) * (1 + math.cos(math.pi * x**k)) / 2


class KDecay(Schedule):
    """Half a cosine wave along a power of time, from the peak to `final` times the peak.

    factor(t) = final + (1 - final) * (1 + cos(pi * (u / D) ** k)) / 2        u = t - W, D = T - W, in updates

    `k` is above 0: 1 is `cosine`, more holds the peak for longer and falls faster at the end. The paper finds better
    models as it grows from 1, and recommends no single value; timm's `k_decay` is 1 unless given. The default here
    is 2, since at 1 it would be another name for `cosine`. `final` is the rate at t = T over the peak, 0 ... 1 (default
    0), and held past the end.

    Zhang & Li, arXiv:2004.05909, applied to the cosine.
    """

    advice: ClassVar[str] = "where cosine falls too early: holds the peak for longer, the more so the larger k"
    formula = staticmethod(decay)
    name: Literal["k-decay"] = "k-decay"
    k: float = Field(default=2.0, gt=0)
    final: float = Field(default=0.0, ge=0, le=1)
