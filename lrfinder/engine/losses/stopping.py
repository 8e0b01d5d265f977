"""When a repeat or a short run has gone far enough: its loss diverged, or something in it is no longer finite."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn

from lrfinder.engine.losses.divergence import LEAST_SHARE, DivergenceRule
from lrfinder.engine.losses.nonfinite import WeightsTotal, all_finite, locate_nonfinite
from lrfinder.records import Stop

StopReason = tuple[Stop, str]  # and why
When = Callable[[int, float], str]  # from the updates made and the rate of the last one: "after 5 updates"


class StoppingRule:
    """Judges the losses of a repeat or a short run of `model`, whose loss before any update is `first`.

    `gradients`: those of the last update are there when a loss is judged, and may tell where a NaN came from. `late`:
    when it is judged, the model has gone on, and nothing in it tells that any more. `when` says in words when a loss
    was computed.
    """

    def __init__(self, model: nn.Module, first: float, *, gradients: bool, late: bool, when: When) -> None:
        self._model = model
        self._weights = WeightsTotal(model)
        self.first = first
        self._when = when
        self._gradients = gradients and not late
        self._late = late
        self._seen_finite = 0  # updates after which the weights were seen to be finite
        self._divergence = DivergenceRule(least_rise=LEAST_SHARE * abs(first))
        if math.isfinite(first):
            self._divergence.observe(first)

    def before(self, what: str) -> StopReason | None:
        """Return why it ends before any update; `what` names the first loss: "the loss of the first batch"."""
        if math.isfinite(self.first):
            return None
        return (
            Stop.NON_FINITE,
            f"{what}, before any update, is {self.first}: {locate_nonfinite(self._model, gradients=False)}",
        )

    def weights_total(self) -> torch.Tensor | float | None:
        """Return what `after` is to know of the weights as they are now; it isn't waited for."""
        return self._weights.total()

    def after(self, loss: float, updates: int, rate: float, weights: float | None) -> StopReason | None:
        """Return why `loss`, that follows `updates` updates, the last one at `rate`, ends it, or None.

        `weights` is what `weights_total` returned then; None: nobody looked.
        """
        if not math.isfinite(loss):
            return self.not_finite(f"the loss is {loss} {self._when(updates, rate)}")
        if weights is not None:
            if not math.isfinite(weights) and not all_finite(self._model):
                said = f"the loss is still {loss:.4g} {self._when(updates, rate)}"
                return Stop.NON_FINITE, f"{said}: {locate_nonfinite(self._model, gradients=self._gradients)}"
            self._seen_finite = updates
        if self._divergence.observe(loss):
            began, limit = self._divergence.start, self._divergence.limit
            return Stop.DIVERGED, f"the loss began at {began:.4g}, and the median of the last five is above {limit:.4g}"
        return None

    def not_finite(self, what: str) -> StopReason:
        """Return the ending by a loss that isn't finite: `what` it was, and where it came from."""
        if self._late:
            said = f"{what}: where it came from can't be seen, since losses are read some updates late on a GPU"
            seen = f"; the weights were finite after {self._seen_finite} updates" if self._seen_finite else ""
            return Stop.NON_FINITE, said + seen
        return Stop.NON_FINITE, f"{what}: {locate_nonfinite(self._model, gradients=self._gradients)}"
