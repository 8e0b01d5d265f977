"""The range test itself: one update per rate, and the loss that follows each."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch

from lrfinder.engine.losses.course import Course
from lrfinder.engine.losses.measurement import Measurement
from lrfinder.engine.losses.stopping import StopReason
from lrfinder.engine.update.updater import Updater
from lrfinder.records import Stop


class TrainingLoss:
    """The loss of the training batches themselves.

    The loss of a batch is computed before the update on it, so the one computed before update i + 1 shows what the
    rate of update i did: that is how they are paired. The same forward pass serves both, and one more follows the
    last update. An update that the loss scaler skipped has used up no rate: the next batch tries it again, and its own
    loss, which says nothing new, is left out.
    """

    name = "the loss of the first batch"

    def __init__(self, updates: Updater, measurement: Measurement) -> None:
        self._updates = updates
        self._measurement = measurement
        self._updates_wanted = len(measurement.rates)

    def first(self) -> torch.Tensor | None:
        """Return the loss before any update; None where there is no batch."""
        return self._updates.next_loss()

    def follow(self, rate: float, course: Course) -> StopReason | None:
        """Make an update at `rate` and pass on the loss that follows; return why the repeat ends, if it does."""
        measurement = self._measurement
        applied = self._updates.make(rate)
        count = measurement.count(applied=applied)
        loss = self._updates.next_loss(gradient=count < self._updates_wanted)
        if loss is None:
            return out_of_data(measurement)
        return course.add(loss, count, rate) if applied else self._updates.stuck(rate)


class HeldOutLoss:
    """The loss on held-out batches, which `judge` computes.

    Unlike the training loss, which is that of the batch before the update, what `judge` returns after the update at a
    rate belongs to that rate as it is. A training loss that isn't finite ends the repeat too, before an update by it.
    """

    name = "the held-out loss"

    def __init__(self, updates: Updater, measurement: Measurement, judge: Callable[[], float]) -> None:
        self._updates = updates
        self._measurement = measurement
        self._judge = judge

    def first(self) -> torch.Tensor:
        """Return the loss before any update."""
        return self._judged()

    def follow(self, rate: float, course: Course) -> StopReason | None:
        """Make an update at `rate` and pass on the loss that follows; return why the repeat ends, if it does."""
        loss = self._updates.next_loss()
        if loss is None:
            return out_of_data(self._measurement)
        value = loss.item()
        if not math.isfinite(value):
            return course.ending.not_finite(f"the training loss is {value} before the update at rate {rate:.3g}")
        applied = self._updates.make(rate)
        self._measurement.count(applied=applied)
        if not applied:
            return self._updates.stuck(rate)
        return course.add(self._judged(), self._measurement.updates, rate)

    def _judged(self) -> torch.Tensor:
        return torch.tensor(self._judge(), dtype=torch.float64)


def sweep_rates(
    losses: TrainingLoss | HeldOutLoss,
    measurement: Measurement,
    *,
    begin: Callable[[torch.Tensor], tuple[Course, StopReason | None]],
    deadline: float,
) -> StopReason:
    """Make one update at each rate of `measurement.rates`, fill it with what follows, and return why this ended.

    `begin(loss)` takes in the first loss, before any update. `deadline` is a time of `time.monotonic`.
    """
    loss = losses.first()
    if loss is None:
        return Stop.OUT_OF_DATA, f"train_loader had no batch left; {measurement.progress}"
    course, end = begin(loss)
    while end is None and measurement.updates < len(measurement.rates):
        if time.monotonic() >= deadline:
            end = Stop.OUT_OF_TIME, f"the time limit was reached; {measurement.progress}"
        else:
            end = losses.follow(measurement.rates[measurement.updates], course)
    return course.settle() or end or (Stop.COMPLETED, "")


def out_of_data(measurement: Measurement) -> StopReason:
    """Return the ending of a repeat whose loader ran dry."""
    return Stop.OUT_OF_DATA, f"train_loader ran out and can't be started again; {measurement.progress}"
