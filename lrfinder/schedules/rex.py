"""Hold on to high rates, and fall ever faster."""

from __future__ import annotations

from typing import ClassVar, Literal

from lrfinder.schedules.base import Schedule


def decay(u: int, length: int) -> float:
    """Return (1 - x) / (1 - x / 2), x = u / length."""
    x = u / length if length else 0.0
    return (1 - x) / (1 - x / 2)


class Rex(Schedule):
    """A reflected exponential: what is left of the run over half of it and half of what is left.

    factor(t) = (1 - x) / (1 - x / 2),    x = u / D,    u = t - W, D = T - W, in updates

    It reaches 0 at t = T and stays there.

    Chen, Wolfe & Kyrillidis, arXiv:2107.04197.
    """

    advice: ClassVar[str] = "a small budget of updates: stays higher than linear, and ends at zero as well"
    formula = staticmethod(decay)
    name: Literal["rex"] = "rex"
