"""`lrfinder.verify`: train shortly around a recommendation, and confirm or correct it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lrfinder.advice import Request, advise
from lrfinder.advice.length import run_length
from lrfinder.advice.trials import VerifyRequest, next_runs, parse_budget
from lrfinder.advice.verification import Verification, conclude
from lrfinder.api.broadcast import Broadcast
from lrfinder.api.resuming import check_not_inside
from lrfinder.api.source import load_source_problem
from lrfinder.engine.observer import Observer
from lrfinder.engine.run_queue import RunQueue
from lrfinder.engine.runtime.device import choose_device
from lrfinder.errors import UsageError
from lrfinder.records import ShortRun, SweepResult
from lrfinder.store import TRIALS, RunLog, Source, load_run, load_source, read_log


def verify(
    run: str | os.PathLike[str],
    *,
    steps: int | None = None,
    epochs: float | None = None,
    schedule: str | None = None,
    schedules: Sequence[str] = (),
    warmup: int | None = None,
    lr: float | None = None,
    budget: float | str | None = None,
    jobs: int | None = None,
    seed: int = 0,
) -> Verification:
    """Train shortly from scratch around the recommended rate of a run folder, and confirm or correct it.

    `run` is a folder that `sweep(..., out=...)` or `lrfinder sweep` wrote from a model file; its trials are kept in it,
    and asked again, only what is missing is trained. `budget` is a number of updates (int), or a share of the coming
    run (a float below 1, or "25%"). `lr` is verified instead of the recommended rate. `jobs` trials are made at once,
    each in a process of its own; None: several, where that is measured to be faster. `.schedule` is the
    config.

    Raises UsageError for keywords that can't be meant and where the sweep allows no recommendation, RunError for a
    damaged folder, EnvironmentFailure for the machine; what the user's code raises passes through.
    """
    folder = Path(run)
    sweep = load_run(folder)
    length = run_length(sweep.setup, steps, epochs)
    if length is None:
        raise UsageError("the length of the coming run is needed", hint="verify(run, steps=...) or epochs=...")
    advice = advise(sweep, Request(steps=length, schedule=schedule, warmup=warmup, lr=lr))
    if advice.lr is None or advice.schedule is None:
        raise UsageError(f"there is no recommendation to verify: {advice.why}", hint=advice.hint)
    request = VerifyRequest(
        steps=length,
        budget=parse_budget(None if budget is None else str(budget), length, len(schedules)),
        lr=advice.lr,
        schedule=advice.schedule.schedule.name,
        schedules=tuple(schedules),
        warmup=warmup,
        seed=seed,
    )
    source = load_source(folder)
    check_not_inside(source, folder)
    trials = make_trials(request, sweep, folder, source=source, jobs=jobs)
    return conclude(request, sweep, trials)


def make_trials(
    request: VerifyRequest,
    sweep: SweepResult,
    folder: Path,
    *,
    source: Source,
    jobs: int | None = None,
    observers: Sequence[Observer] = (),
) -> tuple[ShortRun, ...]:
    """Make the runs that the request still lacks, and return all of them; each is in the folder's log as it ends."""
    if jobs is not None and jobs < 1:
        raise UsageError(f"jobs must be at least 1, got {jobs}")
    trials = known_trials(request, folder)
    plans = next_runs(request, sweep, trials)
    if not plans:
        return trials
    folder = folder.absolute()  # a model file may change the working directory
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(RunLog(folder / TRIALS))
        make = stack.enter_context(_maker(request, source, jobs, observers))
        while plans:
            for made in make(plans):
                log.add(made)
                trials = (*trials, made)
                if made.stop.ends_the_sweep:
                    return trials
            plans = next_runs(request, sweep, trials)
    return trials


def known_trials(request: VerifyRequest, folder: Path) -> tuple[ShortRun, ...]:
    """Return the trials in the folder's log that count for this request: those with its seed."""
    return tuple(trial for trial in read_log(folder / TRIALS) if trial.seed == request.seed)


@contextlib.contextmanager
def _maker(request: VerifyRequest, source: Source, jobs: int | None, observers: Sequence[Observer]) -> Any:
    """Give a function that makes runs and yields each as it ends: in this process, in `jobs` others, or in both."""
    if jobs is not None and jobs > 1:
        from lrfinder.api.run_pool import RunPool

        with RunPool(source, seed=request.seed, jobs=jobs) as pool:
            yield lambda plans: _reported(pool.run(plans), observers)
        return
    problem = load_source_problem(source, seed=request.seed)
    device = choose_device(source.device)
    with contextlib.ExitStack() as stack:
        elsewhere = None
        if jobs is None:
            elsewhere = stack.enter_context(_spare_cores(request, source, device))
        listeners = Broadcast(observers)
        runs = RunQueue(problem, seed=request.seed, device=device, observer=listeners, elsewhere=elsewhere)
        yield stack.enter_context(runs).run_all


def _spare_cores(request: VerifyRequest, source: Source, device: Any) -> Any:
    import torch

    from lrfinder.api.auto_parallel import AutoParallel

    return AutoParallel(source, seed=request.seed, threads=torch.get_num_threads(), device=device)


def _reported(runs: Iterable[ShortRun], observers: Sequence[Observer]) -> Iterable[ShortRun]:
    for made in runs:
        for observer in observers:
            observer.run_started(made.plan)
            observer.run_ended(made)
        yield made
