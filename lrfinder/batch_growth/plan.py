"""Growing the batch instead of decaying the rate: the plan of the epochs."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from lrfinder.errors import UsageError
from lrfinder.records.given import whole
from lrfinder.schedules import Schedule, Table
from lrfinder.schedules.base import MAX_STEPS


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """An epoch of a plan: its batch size, its rate over the peak, and its updates, the last on what is left."""

    batch_size: int
    factor: float
    updates: int


def whole_sizes(samples: int, batch_size: int, cap: int | None) -> tuple[int, int, int | None]:
    """Return the sizes as Python's own numbers. Raises UsageError for what isn't whole."""
    return whole("samples", samples), whole("batch_size", batch_size), None if cap is None else whole("cap", cap)


def grow_batches(schedule: Schedule, *, samples: int, batch_size: int, cap: int | None = None) -> tuple[Epoch, ...]:
    """Return, epoch by epoch, the batch size that has the noise scale of a decaying rate at a rate near the peak.

    For epoch e, S = ceil(samples / batch_size) updates an epoch of the schedule, and B0 = batch_size:

        decayed(e) = factor(max(e S, W))                      the schedule's rate over the peak, at the epoch's start
        B(e) = min(floor(B0 / decayed(e)), cap)               B0 while the warm-up still rises
        factor(e) = decayed(e) B(e) / B0                      1 up to rounding; below it from the cap on

    So rate / batch size, and with it the noise scale, is the schedule's in every epoch, even if the size was rounded
    or capped, and the examples seen are the same in fewer updates. A warm-up doesn't translate: it stays, update by
    update. Neither does a decay to zero, which wants batches without end: `cap` (default: a tenth of the samples,
    beyond which the equivalence ends) stops the growth, and the rate decays from there.

    Smith, Kindermans, Ying & Le, arXiv:1711.00489, for SGD with or without momentum, and Adam.
    Raises UsageError for sizes that make no sense, and for a schedule that has a rise of its own or reads losses.
    """
    if schedule.rises_itself or schedule.reads_losses:
        why = "it has a rise of its own" if schedule.rises_itself else "losses cut it, not updates"
        raise UsageError(f"the batch can't stand in for a {schedule.name} schedule: {why}", hint="take one that decays")
    samples, batch_size, cap = whole_sizes(samples, batch_size, cap)
    if samples < 1 or not 1 <= batch_size <= samples:
        raise UsageError(f"batch_size must be from 1 to the {samples} samples, got {batch_size}")
    most = max(batch_size, samples // 10) if cap is None else cap
    if not batch_size <= most <= samples:
        raise UsageError(f"cap must be from batch_size ({batch_size}) to the {samples} samples, got {most}")
    per_epoch = math.ceil(samples / batch_size)
    epochs = []
    for start in range(0, schedule.steps, per_epoch):
        decayed = schedule.factor(max(start, schedule.warmup))
        size = batch_size
        if start >= schedule.warmup:
            # Slightly more than the quotient, so that 20 / 0.2 is 100.
            size = most if decayed * most <= batch_size else int(batch_size / decayed * (1 + 1e-12))
        factor = min(1.0, decayed * size / batch_size)
        epochs.append(Epoch(batch_size=size, factor=factor, updates=math.ceil(samples / size)))
    if sum(epoch.updates for epoch in epochs) > MAX_STEPS:
        raise UsageError(
            f"the batches of {samples} samples are more than {MAX_STEPS} updates", hint="a larger batch_size"
        )
    return tuple(epochs)


def rates(schedule: Schedule, plan: tuple[Epoch, ...]) -> Table:
    """Return the rates that the plan leaves, update by update: the warm-up, then each epoch's factor, held."""
    starts = itertools.accumulate((epoch.updates for epoch in plan), initial=0)
    points: dict[int, float] = {}
    for start, epoch in zip(starts, plan, strict=False):
        points[max(start - schedule.warmup, 0)] = epoch.factor  # of the epochs in the warm-up the last one counts
    kept = [
        (u, factor)
        for (u, factor), before in zip(points.items(), [None, *points.values()], strict=False)
        if factor != before
    ]
    steps = sum(epoch.updates for epoch in plan)
    return Table(
        steps=max(steps, schedule.warmup),
        warmup=schedule.warmup,
        warmup_start=schedule.warmup_start,
        points=tuple(kept),
        between="hold",
    )


def stretches(plan: tuple[Epoch, ...]) -> tuple[tuple[int, int], ...]:
    """Return how many epochs in a row have which batch size: (epochs, batch_size), in order."""
    grouped = itertools.groupby(plan, key=lambda epoch: epoch.batch_size)
    return tuple((sum(1 for _ in epochs), size) for size, epochs in grouped)
