"""The range test judged by held-out batches: one update per rate, and the loss on the same data after each."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from lrfinder.engine.measurement import Measurement
from lrfinder.engine.updates import Updates
from lrfinder.records import Stop


def sweep_rates_judged(
    updates: Updates,
    measurement: Measurement,
    *,
    judge: Callable[[], float],
    deadline: float,
    prepared: Callable[[], None],
) -> tuple[Stop, str]:
    """Make one update at each rate of `measurement.rates`, fill it with what `judge` says, and return why this ended.

    Unlike the training loss, which is that of the batch before the update, what `judge` returns after the update at a
    rate belongs to that rate as it is. A training loss that isn't finite ends the repeat too, before an update by it.
    `prepared` is called after the first judgement. `deadline` is a time of `time.monotonic`.
    """
    value = measurement.start(judge())
    prepared()
    ending = updates.ending(value)
    end = ending.before("the held-out loss")
    if end is not None:
        return end
    while measurement.updates < len(measurement.rates):
        if time.monotonic() >= deadline:
            return Stop.OUT_OF_TIME, f"the time limit was reached; {measurement.progress}"
        rate = measurement.rates[measurement.updates]
        loss = updates.next_loss()
        if loss is None:
            return Stop.OUT_OF_DATA, f"train_loader ran out and can't be started again; {measurement.progress}"
        if not math.isfinite(loss):
            return ending.not_finite(f"the training loss is {loss} before the update at rate {rate:.3g}")
        applied = updates.make(rate)
        measurement.count(applied=applied)
        if applied:
            end = ending.after(measurement.add(judge()), measurement.updates, f"after the update at rate {rate:.3g}")
        else:
            end = updates.stuck(rate)
        if end is not None:
            return end
    return Stop.COMPLETED, ""
