"""The schedule of the first transformer."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from lrfinder.schedules.base import Schedule


def decay(u: int, length: int, *, warmup: int) -> float:  # noqa: ARG001 - it needs no length
    """Return sqrt(W / s), s = u + W + 1."""
    return min(1.0, math.sqrt(max(warmup, 1) / (u + warmup + 1)))


class Noam(Schedule):
    """A linear rise over W updates, then a fall with the square root of the 1-based update number s = t + 1.

    factor(t) = min(s / W, sqrt(W / s)),    s = t + 1

    The published rate, d ** -0.5 * min(s ** -0.5, s * W ** -1.5), is this times its peak, (d W) ** -0.5, with d the
    model's width: a peak that was found for one model takes its place. One update ahead of `inverse-sqrt`. Without a
    warm-up, W counts as 1. It never reaches zero and needs no length; past the end the value at t = T is held.

    Vaswani et al., arXiv:1706.03762.
    """

    advice: ClassVar[str] = "reproducing the first transformer's training"
    formula = staticmethod(decay)
    name: Literal["noam"] = "noam"
