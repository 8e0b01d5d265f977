"""Up once, down once, and far below at the end."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, Self

from pydantic import Field

from lrfinder.schedules.base import Momentums, Schedule


def decay(u: int, length: int, *, rise: float, anneal: str, start: float, final: float, top: float = 1.0) -> float:
    """Return what goes from `start` at u = 0 to `top` at the peak and to `final` at the last update."""
    last = length - 1
    if u >= last:
        return final
    peak = rise * length - 1
    if u <= peak:
        return start + (top - start) * _eased(u / peak if peak else 1.0, anneal)
    return top + (final - top) * _eased((u - peak) / (last - peak), anneal)


def _eased(x: float, anneal: str) -> float:
    return x if anneal == "linear" else (1 - math.cos(math.pi * x)) / 2


class OneCycle(Schedule):
    """One rise from `start` times the peak to the peak over a share `rise` of the run, one fall to `final` times it.

    With r = rise * T - 1, the update (perhaps between two) at the peak, and u = t:

        factor(t) = start + (1 - start) * a(u / r)                         for u <= r
        factor(t) = 1 + (final - 1) * a((u - r) / (T - 1 - r))             for r < u < T

    a(x) = (1 - cos(pi x)) / 2 for `anneal` "cos" (default), x for "linear". Defaults: rise 0.3, start 1/25, final
    1/250,000 (a ten-thousandth of the start). The rise is its own warm-up, so `warmup` must be 0. `final` is reached
    by the last update, T - 1, and held.

    With `momentums` [low, high], torch's defaults being [0.85, 0.95], the momentum (Adam's beta1) moves the other way:

        momentum(t) = high + (low - high) * a(u / r)                       for u <= r, and back to high likewise

    Without, it is left as it is: the rate was found with that one.

    Smith & Topin, arXiv:1708.07120; torch's `OneCycleLR` (div_factor = 1 / start, final_div_factor = start / final).
    """

    advice: ClassVar[str] = "short runs with a high peak, as fast training recipes have them"
    rises_itself: ClassVar[bool] = True
    formula = staticmethod(decay)
    name: Literal["one-cycle"] = "one-cycle"
    rise: float = Field(default=0.3, gt=0, lt=1)
    start: float = Field(default=1 / 25, gt=0, le=1)
    final: float = Field(default=1 / 250_000, ge=0, le=1)
    anneal: Literal["cos", "linear"] = "cos"
    momentums: Momentums = None

    @classmethod
    def for_run(cls, *, steps: int, warmup: int) -> Self:
        """Return the usual cycle; it has a rise of its own, whatever `warmup` says."""
        del warmup
        return cls(steps=steps)

    def momentum(self, t: int) -> float | None:
        """Return the momentum on its way down to `low` or back to `high`."""
        if self.momentums is None:
            return None
        low, high = self.momentums
        return decay(t, self.steps, **{**self.arguments(), "start": high, "top": low, "final": high})
