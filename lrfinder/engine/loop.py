"""The range test itself: one update per rate, and the loss that follows each."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from lrfinder.engine.divergence import LEAST_SHARE, DivergenceRule
from lrfinder.engine.measurement import Measurement
from lrfinder.errors import user_code
from lrfinder.records import Stop
from lrfinder.task.batches import to_device
from lrfinder.task.problem import Trial


def sweep_rates(
    trial: Trial,
    batches: Iterator[Any],
    measurement: Measurement,
    *,
    device: torch.device,
    deadline: float,
    prepared: Callable[[], None],
) -> tuple[Stop, str]:
    """Make one update at each rate of `measurement.rates`, fill it with what follows, and return why this ended.

    The loss of a batch is computed before the update on it, so the one computed before update i + 1 shows what the
    rate of update i did: that is how they are paired. The same forward pass serves both, and one more follows the
    last update. `prepared` is called after the first loss. `deadline` is a time of `time.monotonic`.
    """
    losses = Losses(trial, batches, device)
    rates = Rates(trial)
    loss = losses.next()
    if loss is None:
        return Stop.OUT_OF_DATA, f"train_loader had no batch left; {measurement.progress}"
    value = measurement.start(loss.item())
    prepared()
    if not math.isfinite(value):
        return Stop.NON_FINITE, f"the loss of the first batch, before any update, is {value}"
    divergence = DivergenceRule(least_rise=LEAST_SHARE * abs(value))
    divergence.observe(value)
    for rate in measurement.rates:
        if time.monotonic() >= deadline:
            return Stop.OUT_OF_TIME, f"the time limit was reached; {measurement.progress}"
        rates.set(rate)
        update(trial.optimizer, loss, measurement.updates)
        measurement.updates += 1
        loss = losses.next()
        if loss is None:
            return Stop.OUT_OF_DATA, f"train_loader ran out and can't be started again; {measurement.progress}"
        end = _end(measurement.add(loss.item()), rate, divergence)
        if end is not None:
            return end
    return Stop.COMPLETED, ""


def _end(loss: float, rate: float, divergence: DivergenceRule) -> tuple[Stop, str] | None:
    """Return why `loss`, measured after the update at `rate`, ends the repeat, or None."""
    if not math.isfinite(loss):
        return Stop.NON_FINITE, f"the loss is {loss} after the update at rate {rate:.3g}"
    if divergence.observe(loss):
        began, limit = divergence.start, divergence.limit
        return Stop.DIVERGED, f"the loss began at {began:.4g}, and the median of the last five is above {limit:.4g}"
    return None


class Losses:
    """The loss of each next batch, as a tensor that an update can be made from."""

    def __init__(self, trial: Trial, batches: Iterator[Any], device: torch.device) -> None:
        self._trial = trial
        self._batches = batches
        self._device = device
        self._count = 0

    def next(self) -> torch.Tensor | None:
        """Return the loss of the next batch, or None where there is none."""
        for batch in self._batches:
            with user_code(f"computing the loss of batch {self._count}"):
                loss = self._trial.loss(self._trial.model, to_device(batch, self._device))
            self._count += 1
            return loss
        return None


class Rates:
    """Sets the rate of every param group, in its ratio to the swept rate."""

    def __init__(self, trial: Trial) -> None:
        self._groups = list(zip(trial.optimizer.param_groups, trial.group_ratios, strict=True))

    def set(self, rate: float) -> None:
        """Set the swept rate; a rate that is a tensor stays the same tensor, since compiled updates read it."""
        for group, ratio in self._groups:
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(rate * ratio)
            else:
                group["lr"] = rate * ratio


def update(optimizer: torch.optim.Optimizer, loss: torch.Tensor, number: int) -> None:
    """Make update `number` (counted from 0) by the gradient of `loss`."""
    optimizer.zero_grad(set_to_none=True)
    with user_code(f"running loss.backward() before update {number}"):
        loss.backward()  # type: ignore[no-untyped-call]
    with user_code(f"calling optimizer.step() for update {number}"):
        optimizer.step()
