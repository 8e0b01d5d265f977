"""Up once, down once, and far below at the end."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, Self

from pydantic import Field

from lrfinder.schedules.base import Schedule


class OneCycle(Schedule):
    """One rise from `start` times the peak to the peak over a share `rise` of the run, one fall to `final` times it.

    With r = rise * T - 1, the update (perhaps between two) at the peak, and u = t:

        factor(t) = start + (1 - start) * a(u / r)                         for u <= r
        factor(t) = 1 + (final - 1) * a((u - r) / (T - 1 - r))             for r < u < T

    a(x) = (1 - cos(pi x)) / 2 for `anneal` "cos" (default), x for "linear". Defaults: rise 0.3, start 1/25, final
    1/250,000 (a ten-thousandth of the start). The rise is its own warm-up, so `warmup` must be 0. `final` is reached
    by the last update, T - 1, and held.

    Smith & Topin, arXiv:1708.07120; torch's `OneCycleLR` (div_factor = 1 / start, final_div_factor = start / final).
    The momentum, which they move the other way, is left as it is: the rate was found with that one.
    """

    advice: ClassVar[str] = "short runs with a high peak, as fast training recipes have them"
    rises_itself: ClassVar[bool] = True
    name: Literal["one-cycle"] = "one-cycle"
    rise: float = Field(default=0.3, gt=0, lt=1)
    start: float = Field(default=1 / 25, gt=0, le=1)
    final: float = Field(default=1 / 250_000, ge=0, le=1)
    anneal: Literal["cos", "linear"] = "cos"

    @classmethod
    def for_run(cls, *, steps: int, warmup: int) -> Self:
        """Return the usual cycle; it has a rise of its own, whatever `warmup` says."""
        del warmup
        return cls(steps=steps)

    def decay(self, u: int, length: int) -> float:
        """Return the rate on the way up or down; the last update's where u is past it."""
        last = length - 1
        if u >= last:
            return self.final
        peak = self.rise * length - 1
        if u <= peak:
            return self.start + (1 - self.start) * self._eased(u / peak if peak else 1.0)
        return 1 + (self.final - 1) * self._eased((u - peak) / (last - peak))

    def _eased(self, x: float) -> float:
        return x if self.anneal == "linear" else (1 - math.cos(math.pi * x)) / 2
