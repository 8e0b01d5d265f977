"""The training loop: an update at each rate, and the loss after each."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import torch

from lrfinder.engine.losses.log import LossLog, StopReason
from lrfinder.engine.update.fast_path import FastPath
from lrfinder.engine.update.updater import Updater
from lrfinder.records import Stop


def train(
    updater: Updater,
    log: LossLog,
    rates: Sequence[float],
    *,
    deadline: float,
    judge: Callable[[], float] | None = None,
    updated: Callable[[], None] | None = None,
    last_loss: bool = True,
) -> StopReason:
    """Make one update at each of `rates`, add the losses after them to `log`, and return why this ended.

    The first loss is in the log already. The loss of a batch is computed before the update on it. So the loss before
    update i + 1 shows what the rate of update i did, and the log pairs these two. One forward pass is enough for both;
    after the last update one more is made if `last_loss`. `judge` computes a held-out loss after each update, which is
    logged instead; then a training loss that isn't finite ends the loop before its update.

    If the loss scaler skips an update, the next batch tries the same rate again, and the loss in between is left out.

    `updated` is called after each update. `deadline` is a time of `time.monotonic`. The reason in words is empty if
    there is nothing to say but how far the log came.
    """
    end: StopReason | None = None
    steps: Updater | FastPath = updater
    while log.updates < len(rates):
        if time.monotonic() >= deadline:
            end = Stop.OUT_OF_TIME, ""
            break
        rate = rates[log.updates]
        if judge is not None:
            end = _check_training_loss(steps, log, rate)
            if end is not None:
                break
        applied = steps.make(rate)
        steps = steps.fast_path or steps
        if applied:
            log.updates += 1
        else:
            log.skipped += 1
        if applied and updated is not None:
            updated()
        more = log.updates < len(rates)
        if not (more or last_loss):
            break
        loss = steps.next_loss(gradient=more) if judge is None else as_loss(judge())
        if loss is None:
            end = Stop.OUT_OF_DATA, ""
            break
        end = log.add(loss, rate) if applied else updater.stuck(rate)
        if end is not None:
            break
    return log.settle() or end or (Stop.COMPLETED, "")


def as_loss(value: float) -> torch.Tensor:
    """Return a held-out loss as a tensor, which `LossLog.add` takes."""
    return torch.tensor(value, dtype=torch.float64, device="cpu")


def _check_training_loss(steps: Updater | FastPath, log: LossLog, rate: float) -> StopReason | None:
    """Compute the training loss for the next update; return the end if there is none, or if it isn't finite."""
    loss = steps.next_loss()
    if loss is None:
        return Stop.OUT_OF_DATA, ""
    value = loss.item()
    if math.isfinite(value) or log.rule is None:
        return None
    return log.rule.not_finite(f"the training loss is {value} before the update at rate {rate:.3g}")
