"""The range test itself: one update per rate, and the loss that follows each."""

from __future__ import annotations

import time
from collections.abc import Callable

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
    ending = updates.ending(loss)
    end = ending.before("the loss of the first batch")
    if end is not None:
        return end
    while measurement.updates < len(measurement.rates):
        if time.monotonic() >= deadline:
            return Stop.OUT_OF_TIME, f"the time limit was reached; {measurement.progress}"
        rate = measurement.rates[measurement.updates]
        applied = updates.make(rate)
        measurement.count(applied=applied)
        loss = updates.next_loss(gradient=measurement.updates < len(measurement.rates))
        if loss is None:
            return Stop.OUT_OF_DATA, f"train_loader ran out and can't be started again; {measurement.progress}"
        if applied:
            end = ending.after(measurement.add(loss), measurement.updates, f"after the update at rate {rate:.3g}")
        else:
            end = updates.stuck(rate)
        if end is not None:
            return end
    return Stop.COMPLETED, ""
