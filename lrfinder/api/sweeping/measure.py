"""Sweep a problem on a device, with observers: what the command line and the Python call share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from lrfinder.api.result import Sweep
from lrfinder.api.sweeping.broadcast import Broadcast
from lrfinder.api.sweeping.sweep_parts import deadline_of, make_sweep
from lrfinder.engine.distributed.orders import Begin
from lrfinder.engine.distributed.team import current_team
from lrfinder.engine.held_out import no_val_loader
from lrfinder.engine.micro_batches import MicroBatching, micro_batching_for
from lrfinder.engine.observer import Observer
from lrfinder.engine.runtime.device import choose_device
from lrfinder.engine.runtime.memory import most_memory
from lrfinder.engine.short_runs import ShortRuns
from lrfinder.engine.sweep import run_sweep
from lrfinder.errors import ModelFileError
from lrfinder.records import Metric, SweepSettings, Trace
from lrfinder.store import ResumableRun
from lrfinder.task.problem import Problem


def measure(
    problem: Problem,
    settings: SweepSettings,
    *,
    device: str = "auto",
    observers: Sequence[Observer] = (),
    run: str | None = None,
    kept: ResumableRun | None = None,
) -> Sweep:
    """Run the range test, continuous repeats, short sweeps and short runs as its mode says, and return its result.

    `kept` is the part that an earlier process finished; only the rest is made, from the same start. The user's
    objects are as they were before, however it ends.

    An interruption that leaves anything measured is a result with that status; one that comes before the first loss
    is raised again (KeyboardInterrupt, Terminated). Errors are those of `run_sweep`, and UsageError for the device.
    """
    listeners = Broadcast(observers, setup=kept.setup if kept is not None else None)
    target = choose_device(device)
    if settings.metric is Metric.VAL and problem.val_loader is None:
        raise no_val_loader(problem.where)
    deadline = deadline_of(settings)
    maker = _ProblemParts(problem, settings, target, listeners, deadline, name=device)
    if kept is not None and (kept.traces or kept.runs):
        maker.carry_on(kept)
    return make_sweep(maker, settings, listeners, deadline=deadline, run=run, kept=kept)


class _ProblemParts:
    """Makes the parts of a sweep from the objects of a problem."""

    def __init__(
        self,
        problem: Problem,
        settings: SweepSettings,
        device: torch.device,
        listeners: Broadcast,
        deadline: float,
        *,
        name: str,
    ) -> None:
        """`name` is that of the device, as it was given; if this is one of several processes, the others begin, too."""
        self._problem, self._settings, self._device = problem, settings, device
        self._listeners, self._deadline = listeners, deadline
        team = current_team()
        if team is not None:
            team.tell(Begin(settings, name))
        self._batching: MicroBatching = micro_batching_for(problem, settings, device, team=team)

    def carry_on(self, kept: ResumableRun) -> None:
        """Compute batches as the last kept part did; raise ModelFileError if it has used up the loader's only start."""
        if kept.traces and isinstance(self._problem.train_loader, Iterator):
            raise ModelFileError(
                f"{self._problem.where}: train_loader is an iterator, which has only one start: this sweep can't be "
                "resumed",
                hint="give a function that returns a new iterable, and sweep again",
            )
        self._batching.carry_on(kept.runs[-1] if kept.runs else (*kept.traces, *kept.short_sweeps)[-1])

    def repeats(self, settings: SweepSettings, known: tuple[Trace, ...]) -> tuple[Trace, ...]:
        """Make the repeats."""
        return run_sweep(
            self._problem,
            settings,
            device=self._device,
            observer=self._listeners,
            batching=self._batching,
            known=known,
        )

    def short_runs(self) -> ShortRuns:
        """Return the context in which short runs are made."""
        return ShortRuns(
            self._problem,
            seed=self._settings.seed,
            device=self._device,
            observer=self._listeners,
            deadline=self._deadline,
            batching=self._batching,
        )

    def can_begin_again(self, settings: SweepSettings) -> bool:
        """Tell whether the loader has another start: one that is an iterator has not, unless its batches are kept."""
        return not isinstance(self._problem.train_loader, Iterator) or settings.cache_batches is not None

    def most_memory(self) -> int | None:
        """Return the most memory that was taken, in bytes."""
        return most_memory(self._device)

    def nothing_left(self) -> ModelFileError:
        """Return the error to raise if not even a first loss was measured."""
        return ModelFileError(
            f"{self._problem.where}: train_loader has no batch left",
            hint="give a function that returns a new iterable: `def train_loader(): ...`",
        )
