"""Growing the batch instead of decaying the rate: the sampler that follows a plan."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence, Sized
from typing import Any

from torch.utils.data import Sampler

from lrfinder.batch_growth.plan import Epoch, grow_batches, rates
from lrfinder.errors import UsageError
from lrfinder.schedules import Schedule

Samples = Sampler[int] | Sequence[int]  # the order in which an epoch takes its samples


class BatchSchedule(Sampler[list[int]]):
    """A batch sampler whose batches grow from epoch to epoch: `DataLoader(data, batch_sampler=BatchSchedule(...))`.

    `sampler` gives the order of the samples, a `RandomSampler(data)` for instance; `schedule` is the decay that the
    batches stand in for (see `grow_batches`). Each pass over the loader is the plan's next epoch; past the last one it
    stays as it is. `factor(t)` is the rate of update t over the peak, for `LambdaLR(optimizer, batches.factor)`: 1,
    up to rounding, until the cap is reached.

    To resume between epochs, call `set_epoch(e)` before epoch e, or load `state_dict()`. A sweep holds the size of the
    next epoch, as its rates are for one size. Raises UsageError as `grow_batches` does.
    """

    def __init__(self, sampler: Samples, schedule: Schedule, *, batch_size: int, cap: int | None = None) -> None:
        if not isinstance(sampler, Sized):
            raise UsageError("BatchSchedule needs a sampler with a length", hint="RandomSampler(data), for instance")
        self.epochs = grow_batches(schedule, samples=len(sampler), batch_size=batch_size, cap=cap)
        self._sampler = sampler
        self._rates = rates(schedule, self.epochs)
        self._next = 0
        self._held = False

    @property
    def updates(self) -> int:
        """The updates of the whole plan, fewer than the schedule's."""
        return self._rates.steps

    def factor(self, t: int) -> float:
        """Return the rate of update t = 0, 1, 2, ... over the peak; past the plan's end it is held."""
        return self._rates.factor(t)

    def set_epoch(self, epoch: int) -> None:
        """Make `epoch` (0-based) the next pass; the sampler of the samples is set too, if it can be."""
        self._next = self._next if self._held else epoch
        tell = getattr(self._sampler, "set_epoch", None)
        if callable(tell):
            tell(epoch)

    def hold(self) -> None:
        """Let all passes from now on be as the next one, whatever their number: only the order of the samples moves."""
        self._held = True

    def state_dict(self) -> dict[str, int]:
        """Return the number of the next pass, also in the middle of one."""
        return {"epoch": self._next}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue with the pass that `state_dict` named."""
        self.set_epoch(int(state["epoch"]))

    def __iter__(self) -> Iterator[list[int]]:
        epoch = self._epoch()
        self._next += not self._held
        indices = iter(self._sampler)
        while batch := list(itertools.islice(indices, epoch.batch_size)):
            yield batch

    def __len__(self) -> int:
        """Return the batches of the next pass."""
        return self._epoch().updates

    def _epoch(self) -> Epoch:
        return self.epochs[min(self._next, len(self.epochs) - 1)]
