"""The range test itself: one update per rate, and the loss that follows each."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from lrfinder.engine.divergence import LEAST_SHARE, DivergenceRule
from lrfinder.engine.measurement import Measurement
from lrfinder.engine.updates import Updates
from lrfinder.records import Stop


def sweep_rates(
    updates: Updates, measurement: Measurement, *, deadline: float, prepared: Callable[[], None]
) -> tuple[Stop, str]:
    """Make one update at each rate of `measurement.rates`, fill it with what follows, and return why this ended.

    The loss of a batch is computed before the update on it, so the one computed before update i + 1 shows what the
    rate of update i did: that is how they are paired. The same forward pass serves both, and one more follows the
    last update. An update that the loss scaler skipped has used up no rate: the next batch tries it again, and its own
    loss, which says nothing new, is left out. `prepared` is called after the first loss. `deadline` is a time of
    `time.monotonic`.
    """
    loss = updates.next_loss()
    if loss is None:
        return Stop.OUT_OF_DATA, f"train_loader had no batch left; {measurement.progress}"
    measurement.start(loss)
    prepared()
    if not math.isfinite(loss):
        return Stop.NON_FINITE, f"the loss of the first batch, before any update, is {loss}"
    divergence = DivergenceRule(least_rise=LEAST_SHARE * abs(loss))
    divergence.observe(loss)
    while measurement.updates < len(measurement.rates):
        if time.monotonic() >= deadline:
            return Stop.OUT_OF_TIME, f"the time limit was reached; {measurement.progress}"
        rate = measurement.rates[measurement.updates]
        applied = updates.make(rate)
        measurement.count(applied=applied)
        loss = updates.next_loss(gradient=measurement.updates < len(measurement.rates))
        if loss is None:
            return Stop.OUT_OF_DATA, f"train_loader ran out and can't be started again; {measurement.progress}"
        end = ended(measurement.add(loss), rate, divergence) if applied else updates.stuck(rate)
        if end is not None:
            return end
    return Stop.COMPLETED, ""


def ended(loss: float, rate: float, divergence: DivergenceRule) -> tuple[Stop, str] | None:
    """Return why `loss`, measured after the update at `rate`, ends the repeat, or None."""
    if not math.isfinite(loss):
        return Stop.NON_FINITE, f"the loss is {loss} after the update at rate {rate:.3g}"
    if divergence.observe(loss):
        began, limit = divergence.start, divergence.limit
        return Stop.DIVERGED, f"the loss began at {began:.4g}, and the median of the last five is above {limit:.4g}"
    return None
