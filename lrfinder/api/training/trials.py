"""Make the short trainings of a verification, in this process or in others; each is on the disk as it ends."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from lrfinder.advice.verify.kept_trials import replayed
from lrfinder.advice.verify.trial_plan import TrialPlan
from lrfinder.api.sweeping.broadcast import Broadcast
from lrfinder.api.training.executors import Elsewhere, Executor
from lrfinder.api.training.time_limit import TimeLimit
from lrfinder.api.training.trial import Trial
from lrfinder.engine.distributed.environment import launched_place
from lrfinder.engine.observer import Observer
from lrfinder.errors import UsageError
from lrfinder.paths import restore_cwd
from lrfinder.records import ShortRun
from lrfinder.scripts.runs import ScriptRuns
from lrfinder.store import SCRIPT_LOG, TRIALS, RunLog, Source
from lrfinder.task.source import modules_put_back


def make_trials(
    plan: TrialPlan,
    folder: Path,
    *,
    source: Source,
    jobs: int | None = None,
    where: Elsewhere | None = None,
    observers: Sequence[Observer] = (),
    limit: TimeLimit | None = None,
) -> TrialPlan:
    """Make the runs that `plan` still needs, and return it with all of them.

    Each is in the folder's log as it ends. `jobs` are made at once, each in a process of its own; None: several if that
    is measured to be faster. `where` has them made on other machines. An interruption ends them: the last run says so.
    A run that would begin after the `limit` is left out. Meanwhile no other process makes trials of this folder.

    Raises RunError if another process is making some.
    """
    limit = limit or TimeLimit(None, None)
    if not plan.next_runs():
        return plan
    folder = folder.absolute()  # a model file may change the working directory
    with modules_put_back(), restore_cwd(), contextlib.ExitStack() as stack:
        log = stack.enter_context(RunLog(folder / TRIALS))
        make = stack.enter_context(_maker(plan, source, observers, folder, jobs=jobs, where=where))
        plan = replayed(plan.request, plan.sweep, log.hold())  # another process may have just made some
        limit.begin()
        while plans := limit.in_time(plan.next_runs()):
            for made in make(plans):
                log.add(made)
                plan = dataclasses.replace(plan, runs=(*plan.runs, made))
                limit.made(made.updates)
                if made.stop.ends_the_sweep:
                    return plan
    return plan


@contextlib.contextmanager
def _maker(
    plan: TrialPlan,
    source: Source,
    observers: Sequence[Observer],
    folder: Path,
    *,
    jobs: int | None,
    where: Elsewhere | None,
) -> Any:
    """Return a function that makes runs and yields each as it ends: in this process, in others, or in both.

    Those of a script are made one by one, each in a process of its own, whose output goes to a log in the `folder`.
    """
    if source.script is not None:
        with ScriptRuns(
            source.script,
            seed=plan.request.seed,
            observer=Broadcast(observers),
            log=folder / SCRIPT_LOG,
            kept=plan.runs,
        ) as trials:
            yield lambda plans: map(trials.run, plans)
        return
    if where is not None or (jobs is not None and jobs > 1):
        if launched_place() is not None:
            raise UsageError("--jobs makes trials of one process each at once", hint="leave it out with --nproc")
        listeners = Broadcast(observers)
        with _executor(where, source, plan.request.seed, jobs or 1) as executor:
            yield lambda plans: _reported(executor.run(plans), listeners)
        return
    from lrfinder.api.training.in_process import in_process  # torch

    with in_process(source, observers, seed=plan.request.seed, alone=jobs is not None) as make:
        yield make


def _executor(where: Elsewhere | None, source: Source, seed: int, jobs: int) -> AbstractContextManager[Executor]:
    if where is not None:
        return where.open(source, seed=seed)
    from lrfinder.api.training.run_pool import RunPool

    return RunPool(source, seed=seed, jobs=jobs)


def _reported(trials: Iterable[Trial], listeners: Observer) -> Iterable[ShortRun]:
    for trial in trials:
        trial.report(listeners)
        yield trial.made
