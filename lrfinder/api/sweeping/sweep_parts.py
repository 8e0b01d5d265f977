"""The parts of a sweep in their order, whatever makes them: a model file's objects, or processes of a script."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from lrfinder.advice.sweep.exploration import first_run, next_run, start_of
from lrfinder.api.result import Sweep
from lrfinder.api.sweeping.broadcast import Broadcast
from lrfinder.engine.runtime.signals import Terminated
from lrfinder.records import Cost, Mode, RunPlan, ShortRun, Stop, SweepResult, SweepSettings, Trace
from lrfinder.store import ResumableRun

_AT_ONCE = 1e-6  # seconds: the limit of a part that begins when the time is over, since a limit must be above 0


class RunMaker(Protocol):
    """Makes short runs."""

    def run(self, plan: RunPlan) -> ShortRun:
        """Make one, and return how it ended."""


class PartMaker(Protocol):
    """Makes the parts of a sweep."""

    def repeats(self, settings: SweepSettings, known: tuple[Trace, ...]) -> tuple[Trace, ...]:
        """Make the repeats of `settings` after the `known` ones, until one was cut short; return all."""

    def short_runs(self) -> AbstractContextManager[RunMaker]:
        """Return the context in which short runs are made."""

    def can_begin_again(self, settings: SweepSettings) -> bool:
        """Tell whether another run can start where the first one did."""

    def most_memory(self) -> int | None:
        """Return the most memory that was taken, in bytes; None if that isn't known."""

    def nothing_left(self) -> BaseException:
        """Return the error to raise if not even a first loss was measured, and no signal came."""


def deadline_of(settings: SweepSettings) -> float:
    """Return when the sweep's time is over, if it begins now, by `time.monotonic`."""
    return time.monotonic() + (math.inf if settings.max_seconds is None else settings.max_seconds)


def make_sweep(
    maker: PartMaker,
    settings: SweepSettings,
    listeners: Broadcast,
    *,
    deadline: float,
    run: str | None = None,
    kept: ResumableRun | None = None,
) -> Sweep:
    """Make continuous repeats, short sweeps and short runs as the mode says, and return the result.

    `kept` is the part that an earlier process finished; only the rest is made. An interruption that leaves anything
    measured is a result with that status; one that comes before the first loss is raised again (KeyboardInterrupt,
    Terminated).
    """
    begun = time.monotonic()
    traces, short_sweeps, runs = (kept.traces, kept.short_sweeps, kept.runs) if kept is not None else ((), (), ())
    before: tuple[Trace | ShortRun, ...] = (*traces, *short_sweeps, *runs)
    if before:
        listeners.resumed(traces, short_sweeps, runs)
    if settings.mode is not Mode.RESTART:
        traces = maker.repeats(settings, traces)
    if listeners.setup is None and settings.mode is not Mode.RESTART:
        raise _nothing_measured(maker, {trace.stop for trace in traces})
    short = settings.short()
    if short is not None and _can_restart(maker, settings, traces):
        listeners.short_sweeps_started(short)
        short_sweeps = maker.repeats(_until(deadline, short), short_sweeps)

    def after(runs: tuple[ShortRun, ...]) -> Sweep | None:
        """Return what is known after so many short runs; None if not even a first loss was measured."""
        if listeners.setup is None:
            return None
        return Sweep(
            settings=settings, setup=listeners.setup, traces=traces, short_sweeps=short_sweeps, run=run, runs=runs
        )

    if _can_restart(maker, settings, (*traces, *short_sweeps)):
        with maker.short_runs() as short_runs:
            runs = _explore(short_runs, settings, after, runs)
    result = after(runs)
    if result is None:
        raise _nothing_measured(maker, {made.stop for made in runs})
    updates = result.updates - sum(part.updates for part in before)
    cost = Cost(updates=updates, seconds=time.monotonic() - begun, memory=maker.most_memory())
    return dataclasses.replace(result, cost=cost)


def _until(deadline: float, settings: SweepSettings) -> SweepSettings:
    """Return `settings` with what is left of the time, if the time is limited."""
    if settings.max_seconds is None:
        return settings
    return dataclasses.replace(settings, max_seconds=max(deadline - time.monotonic(), _AT_ONCE))


def _can_restart(maker: PartMaker, settings: SweepSettings, traces: tuple[Trace, ...]) -> bool:
    """Tell whether short runs are wanted and possible."""
    if settings.mode is Mode.CONTINUOUS or any(trace.stop.ends_the_sweep for trace in traces):
        return False
    return settings.mode is Mode.RESTART or maker.can_begin_again(settings)


def _explore(
    short_runs: RunMaker,
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


def _nothing_measured(maker: PartMaker, ends: set[Stop]) -> BaseException:
    """Return what to raise if not even a first loss was measured; `ends` are the endings of the parts."""
    if Stop.TERMINATED in ends:
        return Terminated("before anything was measured")
    if Stop.INTERRUPTED in ends:
        return KeyboardInterrupt("before anything was measured")
    return maker.nothing_left()
