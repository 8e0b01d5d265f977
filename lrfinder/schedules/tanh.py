"""Fall along a hyperbolic tangent: slow, fast, slow."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from lrfinder.schedules.base import Schedule

_MOST = 1000.0  # tanh is -1 or 1 in double precision from 20 on


def decay(u: int, length: int, *, lower: float, upper: float, floor: float) -> float:
    """Return floor + (1 - floor) * (1 - tanh(lower + (upper - lower) x)) / (1 - tanh(lower)), x = u / length."""
    x = u / length if length else 0.0
    above = min(1.0, (1 - math.tanh(lower + (upper - lower) * x)) / (1 - math.tanh(lower)))
    return floor + (1 - floor) * above


class Tanh(Schedule):
    """A hyperbolic tangent from `lower` to `upper`, scaled so that it begins at the peak.

    factor(t) = floor + (1 - floor) * g(x) / g(0),    g(x) = (1 - tanh(lower + (upper - lower) x)) / 2

    x = u / D,    u = t - W, D = T - W, in updates

    Defaults: lower -6, upper 3, floor 0. The middle of the fall is where lower + (upper - lower) x is 0: at two thirds
    of the decay. At t = T, and held from there, is g(1) / g(0) of what is above the floor: 0.00247.

    The published rate is g(x) itself, and begins at g(0) = (1 - tanh lower) / 2: 0.9999939 of the peak with lower -6,
    0.88 with -1. Here it is divided by that, so that factor(W) is 1: the peak is the rate that was measured, which the
    warm-up rises to. For the published rates multiply the peak by g(0); without a floor that is all.

    HTD: Hsueh, Li & Wu, arXiv:1806.01593.
    """

    advice: ClassVar[str] = "image classification that should hold the peak for half of the run, as step decay does"
    formula = staticmethod(decay)
    name: Literal["tanh"] = "tanh"
    lower: float = Field(default=-6.0, ge=-_MOST, le=0)
    upper: float = Field(default=3.0, ge=-_MOST, le=_MOST)
    floor: float = Field(default=0.0, ge=0, le=1)

    @field_validator("upper")
    @classmethod
    def _rises(cls, upper: float, info: ValidationInfo) -> float:
        lower = info.data.get("lower", -_MOST)
        if upper <= lower:
            raise ValueError(f"expected more than lower ({lower:g}), got {upper:g}: the rate would not fall")
        return upper
