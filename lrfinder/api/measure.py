"""Sweep a problem on a device, with observers: what the command line and the Python call share."""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Iterator, Sequence

from lrfinder.advice.exploration import first_run, next_run, start_of
from lrfinder.api.broadcast import Broadcast
from lrfinder.api.result import Sweep
from lrfinder.engine.held_out import no_val_loader
from lrfinder.engine.micro_batches import micro_batching_for
from lrfinder.engine.observer import Observer
from lrfinder.engine.runtime.device import choose_device
from lrfinder.engine.runtime.memory import most_memory
from lrfinder.engine.runtime.signals import Terminated
from lrfinder.engine.short_runs import ShortRuns
from lrfinder.engine.sweep import run_sweep
from lrfinder.errors import ModelFileError
from lrfinder.records import Cost, Metric, Mode, ShortRun, Stop, SweepResult, SweepSettings, Trace
from lrfinder.store import ResumableRun
from lrfinder.task.problem import Problem

_AT_ONCE = 1e-6  # seconds: the limit of a part that begins when the time is over, since a limit must be above 0


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
    batching = micro_batching_for(problem, settings, target)
    begun = time.monotonic()
    deadline = begun + (math.inf if settings.max_seconds is None else settings.max_seconds)
    traces, short_sweeps, runs = (kept.traces, kept.short_sweeps, kept.runs) if kept is not None else ((), (), ())
    before: tuple[Trace | ShortRun, ...] = (*traces, *short_sweeps, *runs)
    if traces or runs:
        _check_starts(problem, traces)
        batching.carry_on(runs[-1] if runs else (*traces, *short_sweeps)[-1])
    repeat = functools.partial(run_sweep, problem, device=target, observer=listeners, batching=batching)
    if settings.mode is not Mode.RESTART:
        traces = repeat(settings, known=traces)
    if listeners.setup is None and settings.mode is not Mode.RESTART:
        raise _nothing_measured(problem, {trace.stop for trace in traces})
    short = settings.short()
    if short is not None and _can_restart(problem, settings, traces):
        listeners.short_sweeps_started(short)
        short_sweeps = repeat(_until(deadline, short), known=short_sweeps)

    def after(runs: tuple[ShortRun, ...]) -> Sweep | None:
        """Return what is known after so many short runs; None if not even a first loss was measured."""
        if listeners.setup is None:
            return None
        return Sweep(
            settings=settings, setup=listeners.setup, traces=traces, short_sweeps=short_sweeps, run=run, runs=runs
        )

    if _can_restart(problem, settings, (*traces, *short_sweeps)):
        with ShortRuns(
            problem, seed=settings.seed, device=target, observer=listeners, deadline=deadline, batching=batching
        ) as short_runs:
            runs = _explore(short_runs, settings, after, runs)
    result = after(runs)
    if result is None:
        raise _nothing_measured(problem, {made.stop for made in runs})
    updates = result.updates - sum(part.updates for part in before)
    cost = Cost(updates=updates, seconds=time.monotonic() - begun, memory=most_memory(target))
    return dataclasses.replace(result, cost=cost)


def _check_starts(problem: Problem, traces: tuple[Trace, ...]) -> None:
    """Raise ModelFileError if `traces` have used up the only start of the loader."""
    if traces and isinstance(problem.train_loader, Iterator):
        raise ModelFileError(
            f"{problem.where}: train_loader is an iterator, which has only one start: this sweep can't be resumed",
            hint="give a function that returns a new iterable, and sweep again",
        )


def _until(deadline: float, settings: SweepSettings) -> SweepSettings:
    """Return `settings` with what is left of the time, if the time is limited."""
    if settings.max_seconds is None:
        return settings
    return dataclasses.replace(settings, max_seconds=max(deadline - time.monotonic(), _AT_ONCE))


def _can_restart(problem: Problem, settings: SweepSettings, traces: tuple[Trace, ...]) -> bool:
    """Tell whether short runs are wanted and possible: a loader that is an iterator has only one start."""
    if settings.mode is Mode.CONTINUOUS or any(trace.stop.ends_the_sweep for trace in traces):
        return False
    one_start = isinstance(problem.train_loader, Iterator) and settings.cache_batches is None
    return settings.mode is Mode.RESTART or not one_start


def _explore(
    short_runs: ShortRuns,
    settings: SweepSettings,
    after: Callable[[tuple[ShortRun, ...]], SweepResult | None],
    runs: tuple[ShortRun, ...],
) -> tuple[ShortRun, ...]:
    """Make short runs after `runs` until enough is known, or one of them was cut short; return all."""
    known = after(runs)
    start = start_of(known) if known is not None else None  # of the continuous part: no short run changes it
    while not (runs and runs[-1].stop.ends_the_sweep):
        known = after(runs)
        if runs and known is None:  # not even the first one's first loss was measured
            break
        # If nothing is known yet, the first run shows what is swept.
        begun = known is not None and (known.traces or known.runs)
        plan = next_run(known, start) if known is not None and begun else first_run(settings)
        if plan is None:
            break
        runs = (*runs, short_runs.run(plan))
    return runs


def _nothing_measured(problem: Problem, ends: set[Stop]) -> BaseException:
    """Return what to raise if not even a first loss was measured; `ends` are the endings of the parts."""
    if Stop.TERMINATED in ends:
        return Terminated("before anything was measured")
    if Stop.INTERRUPTED in ends:
        return KeyboardInterrupt("before anything was measured")
    return ModelFileError(
        f"{problem.where}: train_loader has no batch left",
        hint="give a function that returns a new iterable: `def train_loader(): ...`",
    )
