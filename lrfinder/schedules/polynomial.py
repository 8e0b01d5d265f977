"""Fall along a power of what is left of the run."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from pydantic import Field

from lrfinder.schedules.base import Schedule


def decay(u: int, length: int, *, power: float, final: float, over: int | None, cycle: bool) -> float:
    """Return final + (1 - final) * (share that is left) ** power."""
    n = over if over is not None else max(length, 1)
    if cycle:
        u = min(u, max(length - 1, 0))
        n *= max(1, math.ceil(u / n))
    left = 1 - min(u, n) / n
    return final + (1 - final) * float(left**power)


class Polynomial(Schedule):
    """A power of the time that is left, from the peak to `final` times the peak, once or in cycles.

    factor(t) = final + (1 - final) * (1 - min(u, n) / n) ** power        u = t - W, in updates
    factor(t) = final + (1 - final) * (1 - u / (n c)) ** power            with `cycle`, c = max(1, ceil(u / n))

    n is `over`, the updates that a fall takes (default: the whole decay, D = T - W). `final` is 0 ... 1 (default 0),
    `power` above 0 (default 1: a straight line). With `cycle` the rate jumps up after every n updates, to less each
    time, since the next fall begins as if it had lasted c n updates from the start. Past the end the rate of the last
    update is held, without `cycle` that of t = T.

    TensorFlow's `polynomial_decay`; with power 0.9 the "poly" rule of semantic segmentation, Chen et al.,
    arXiv:1606.00915.
    """

    advice: ClassVar[str] = "segmentation recipes (power 0.9); above 1 it drops early, below 1 late"
    formula = staticmethod(decay)
    name: Literal["polynomial"] = "polynomial"
    power: float = Field(default=1.0, gt=0)
    final: float = Field(default=0.0, ge=0, le=1)
    over: int | None = Field(default=None, ge=1)
    cycle: bool = False
