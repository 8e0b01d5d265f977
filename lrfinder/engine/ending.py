"""When a repeat or a short run has gone far enough: its loss diverged, or something in it is no longer finite."""

from __future__ import annotations

import math

from torch import nn

from lrfinder.engine.divergence import LEAST_SHARE, DivergenceRule
from lrfinder.engine.finite import EVERY, origin, weights_finite
from lrfinder.records import Stop


class Ending:
    """Judges the losses of a repeat of `model`, whose loss before any update is `first`.

    `gradients`: those of the last update are there when a loss is judged, and may tell where a NaN came from.
    """

    def __init__(self, model: nn.Module, first: float, *, gradients: bool) -> None:
        self._model = model
        self._first = first
        self._gradients = gradients
        self._divergence = DivergenceRule(least_rise=LEAST_SHARE * abs(first))
        if math.isfinite(first):
            self._divergence.observe(first)

    def before(self, what: str) -> tuple[Stop, str] | None:
        """Return why it ends before any update; `what` names the first loss: "the loss of the first batch"."""
        if math.isfinite(self._first):
            return None
        return Stop.NON_FINITE, f"{what}, before any update, is {self._first}: {origin(self._model, gradients=False)}"

    def after(self, loss: float, updates: int, when: str) -> tuple[Stop, str] | None:
        """Return why `loss`, that follows update number `updates`, ends it, or None; `when`: "after 5 updates"."""
        if not math.isfinite(loss):
            return self.not_finite(f"the loss is {loss} {when}")
        if updates % EVERY == 0 and updates and not weights_finite(self._model):
            return self.not_finite(f"the loss is still {loss:.4g} {when}")
        if self._divergence.observe(loss):
            began, limit = self._divergence.start, self._divergence.limit
            return Stop.DIVERGED, f"the loss began at {began:.4g}, and the median of the last five is above {limit:.4g}"
        return None

    def not_finite(self, what: str) -> tuple[Stop, str]:
        """Return the ending by a number that isn't finite: `what` it was, and where it came from."""
        return Stop.NON_FINITE, f"{what}: {origin(self._model, gradients=self._gradients)}"
