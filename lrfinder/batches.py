"""Growing the batch instead of decaying the rate: the plan of the epochs, and the sampler that follows it."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Any

from torch.utils.data import Sampler

from lrfinder.errors import UsageError
from lrfinder.schedules import Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """An epoch of a plan: its batch size, its rate over the peak, and its updates, the last on what is left."""

    batch_size: int
    factor: float
    updates: int


def grow_batches(schedule: Schedule, *, samples: int, batch_size: int, cap: int | None = None) -> tuple[Epoch, ...]:
    """Return, epoch by epoch, the batch size that has the noise scale of a decaying rate at a rate near the peak.

    For epoch e, S = ceil(samples / batch_size) updates an epoch of the schedule, and B0 = batch_size:

        decayed(e) = factor(min(e S, T - 1))                  the schedule's rate over the peak, at the epoch's start
        B(e) = min(round(B0 / decayed(e)), cap)               B0 where the warm-up still rises
        factor(e) = decayed(e) B(e) / B0                      1 up to rounding; below it from the cap on

    So rate / batch size, and with it the noise scale, is the schedule's in every epoch, also where the size was rounded
    or capped, and the examples seen are the same in fewer updates. A warm-up doesn't translate, and neither does a
    decay to zero, which wants batches without end: `cap` (default: a tenth of the samples, beyond which the equivalence
    ends) stops the growth, and the rate decays from there.

    Smith, Kindermans, Ying & Le, arXiv:1711.00489, for SGD with or without momentum, and Adam.
    Raises UsageError for sizes that can't be meant.
    """
    if samples < 1 or not 1 <= batch_size <= samples:
        raise UsageError(f"batch_size must be from 1 to the {samples} samples, got {batch_size}")
    most = max(batch_size, samples // 10) if cap is None else cap
    if not batch_size <= most <= samples:
        raise UsageError(f"cap must be from batch_size ({batch_size}) to the {samples} samples, got {most}")
    per_epoch = math.ceil(samples / batch_size)
    epochs = []
    for start in range(0, schedule.steps, per_epoch):
        decayed = schedule.factor(start)
        size = batch_size
        if start >= schedule.warmup:
            size = most if decayed * most <= batch_size else max(batch_size, round(batch_size / decayed))
        epochs.append(Epoch(batch_size=size, factor=decayed * size / batch_size, updates=math.ceil(samples / size)))
    return tuple(epochs)


class BatchSchedule(Sampler[list[int]]):
    """A batch sampler whose batches grow from epoch to epoch: `DataLoader(data, batch_sampler=BatchSchedule(...))`.

    `sampler` gives the order of the samples, a `RandomSampler(data)` for instance; `schedule` is the decay that the
    batches stand in for (see `grow_batches`). Each pass over the loader is the plan's next epoch; past the last one it
    stays as it is. `factor(t)` is the rate of update t over the peak, for `LambdaLR(optimizer, batches.factor)`: 1,
    up to rounding, until the cap is reached.

    To resume, call `set_epoch(e)` before epoch e, or load `state_dict()`. Raises UsageError as `grow_batches` does.
    """

    def __init__(
        self, sampler: Sampler[int] | Sequence[int], schedule: Schedule, *, batch_size: int, cap: int | None = None
    ) -> None:
        if not isinstance(sampler, Sized):
            raise UsageError("BatchSchedule needs a sampler with a length", hint="RandomSampler(data), for instance")
        self.epochs = grow_batches(schedule, samples=len(sampler), batch_size=batch_size, cap=cap)
        self._sampler = sampler
        self._starts = list(itertools.accumulate((epoch.updates for epoch in self.epochs), initial=0))
        self._next = 0

    @property
    def updates(self) -> int:
        """The updates of the whole plan, fewer than the schedule's."""
        return self._starts[-1]

    def factor(self, t: int) -> float:
        """Return the rate of update t = 0, 1, 2, ... over the peak; past the plan's end it is held."""
        return self.epochs[min(bisect_right(self._starts, t) - 1, len(self.epochs) - 1)].factor

    def set_epoch(self, epoch: int) -> None:
        """Make the next pass that of `epoch` (0-based), and tell the sampler of the samples, where it wants to know."""
        self._next = epoch
        tell = getattr(self._sampler, "set_epoch", None)
        if callable(tell):
            tell(epoch)

    def state_dict(self) -> dict[str, int]:
        """Return the number of the next pass."""
        return {"epoch": self._next}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the pass that `state_dict` named."""
        self.set_epoch(int(state["epoch"]))

    def __iter__(self) -> Iterator[list[int]]:
        epoch = self._epoch()
        self._next += 1
        indices = iter(self._sampler)
        while batch := list(itertools.islice(indices, epoch.batch_size)):
            yield batch

    def __len__(self) -> int:
        """Return the batches of the next pass."""
        return self._epoch().updates

    def _epoch(self) -> Epoch:
        return self.epochs[min(self._next, len(self.epochs) - 1)]
