"""One function for each way to sweep, for the command line and Python: with or without a run folder, and resumed.

Nothing here imports torch before `watch` is entered: impossible options are refused at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrfinder.advice import Advice, Request, advise, gather_evidence
from lrfinder.api.runs.run_files import write_picture
from lrfinder.api.sweeping.sinks import begin_sinks, check_sinks, finish_sinks
from lrfinder.api.sweeping.stored_code import Tell, announce_model
from lrfinder.errors import EnvironmentFailure, RunError, UsageError
from lrfinder.paths import restore_cwd
from lrfinder.records import Setup, Stop, SweepSettings
from lrfinder.store import PICTURE, ResumableRun, RunFolder, Source, load_unfinished, write_cost
from lrfinder.task.checkpoint.files import checkpoint_digest, checkpoint_files
from lrfinder.task.reference import check_reference, digest_of
from lrfinder.task.source import modules_put_back
from lrfinder.version import CREATED_BY

if TYPE_CHECKING:
    from lrfinder.api.result import Sweep
    from lrfinder.api.training.executors import Elsewhere
    from lrfinder.engine.observer import Observer
    from lrfinder.task.problem import Problem

LIVE = "lrfinder.sweep(...)"  # the reference of a sweep of objects that Python code gave; no file is called that
# The others are called as the keyword is.
_OPTIONS = {"model": "MODEL", "swept_optimizer": "--sweep-optimizer", "start_from": "--from"}

Watch = Callable[[SweepSettings], AbstractContextManager["Observer"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRun:
    """A sweep, the advice on it, and where both are kept."""

    sweep: Sweep
    advice: Advice
    folder: Path
    picture: Path | None  # None: not drawn, since a signal ended the sweep or the disk refused
    failure: EnvironmentFailure | None = None  # what the disk said; all that was measured is kept
    seconds: float | None  # None: not known, since the sweep was resumed
    of_script: bool = False
    remarks: tuple[str, ...] = ()  # what the starts of a script cost, and what they left


def sweep_model(
    source: Source,
    settings: SweepSettings,
    *,
    live: Callable[[], Problem] | None = None,
    watch: Watch | None = None,
    sinks: Sequence[str] = (),
    where: Elsewhere | None = None,
    folder: RunFolder | None = None,
    kept: ResumableRun | None = None,
) -> Sweep:
    """Sweep the model file of `source`, or the objects that `live` makes a problem of; nothing is written.

    `watch` is entered before the model file is imported, and gives an observer of the sweep. A `folder` observes it
    too, and so do `sinks`, by their names; `kept` is what that folder holds of the sweep already. With `where` the
    parts are made there. Errors are those of `measure`, or `measure_elsewhere`, and of `load_source_problem`.
    """
    if where is not None and live is not None:
        raise UsageError("live objects can't be swept elsewhere", hint="put them in a model file, or leave on= out")
    if sinks:  # before the model file is imported
        check_sinks(sinks)
    with modules_put_back(), restore_cwd(), ExitStack() as stack:
        observers: list[Observer] = [folder] if folder is not None else []
        if watch is not None:
            observers.append(stack.enter_context(watch(settings)))
        from lrfinder.api.sweeping.measure import measure  # torch, once `watch` has prepared for it
        from lrfinder.api.sweeping.model_file import load_source_problem

        told = begin_sinks(sinks, settings, None if folder is None else folder.place)
        observers.extend(told)
        run = str(folder.path) if folder is not None else None
        if where is not None:
            from lrfinder.api.sweeping.elsewhere import measure_elsewhere

            result = measure_elsewhere(source, settings, where, observers=observers, run=run, kept=kept)
        else:
            problem = live() if live is not None else load_source_problem(source, seed=settings.seed)
            result = measure(problem, settings, device=source.device, observers=observers, run=run, kept=kept)
        finish_sinks(told, result)
        return result


def sweep_run(
    source: Source,
    settings: SweepSettings,
    *,
    out: Path | None = None,
    live: Callable[[], Problem] | None = None,
    watch: Watch | None = None,
    sinks: Sequence[str] = (),
    where: Elsewhere | None = None,
) -> SweepRun:
    """Sweep as `sweep_model` does, and keep it in the run folder `out`, or in `lrfinder-runs/<model>-<time>`.

    Raises RunError if `out` is occupied, EnvironmentFailure if the disk refuses.
    """
    begun = time.monotonic()
    found = check_reference(source.reference) if live is None else None
    with RunFolder.create(
        out,
        model=found.title if found is not None else "model",
        source=source,
        settings=settings,
        created_by=CREATED_BY,
        model_sha256=digest_of(found) if found is not None else None,
    ) as folder:
        result = sweep_model(source, settings, live=live, watch=watch, sinks=sinks, where=where, folder=folder)
    return advised(result, folder, time.monotonic() - begun)


def resume_run(
    run: Path,
    given: Mapping[str, Any] | None = None,
    *,
    watch: Watch | None = None,
    sinks: Sequence[str] = (),
    where: Elsewhere | None = None,
    tell: Tell | None = None,
) -> SweepRun:
    """Make the missing parts of the sweep of a run folder; `given` are options that must agree with it.

    `tell` gets the name of the model file before it is imported. Raises UsageError if they don't agree, or if live
    objects were swept; RunError for a damaged folder, one that another process is writing, and a model file that has
    changed.
    """
    kept = load_unfinished(run)
    if kept.source.script is not None:
        raise UsageError(
            f"{run}: the sweep of a script can't be resumed; what it measured is kept",
            hint=f"lrfinder recommend {run} reads it, and `lrfinder sweep --script` begins again",
        )
    _check_options(given or {}, kept)
    _check_model_file(kept, tell)
    check_checkpoint(kept.source, kept.setup, kept.path)
    with RunFolder.resume(kept) as folder:
        result = sweep_model(
            kept.source, kept.settings, watch=watch, sinks=sinks, where=where, folder=folder, kept=kept
        )
    return advised(result, folder)


def check_checkpoint(source: Source, setup: Setup, folder: Path) -> None:
    """Raise RunError if the checkpoint of a run folder is another one now, UsageError if it is gone."""
    if source.start_from is None or setup.start is None:
        return
    if checkpoint_digest(checkpoint_files(source.start_from)) != setup.start.sha256:
        raise RunError(
            f"{folder}: {source.start_from} has changed since the sweep began: the losses would not compare",
            hint="sweep again from it, or bring back the checkpoint as it was",
        )


def advised(
    result: Sweep,
    folder: RunFolder,
    seconds: float | None = None,
    *,
    of_script: bool = False,
    remarks: tuple[str, ...] = (),
) -> SweepRun:
    """Advise, keep what it cost, and draw the picture, unless somebody interrupted the sweep: they want to leave."""
    advice = advise(gather_evidence(result), Request())
    picture, failure = None, None
    try:
        if result.cost is not None and result.cost.updates:
            write_cost(folder.place, result.cost)
        if result.status not in {Stop.INTERRUPTED, Stop.TERMINATED}:
            write_picture(folder.place, advice.chart(result))
            picture = folder.path / PICTURE
    except EnvironmentFailure as error:
        failure = error
    return SweepRun(
        sweep=result,
        advice=advice,
        folder=folder.path,
        picture=picture,
        seconds=seconds,
        of_script=of_script,
        remarks=remarks,
        failure=failure,
    )


def _check_model_file(kept: ResumableRun, tell: Tell | None) -> None:
    """Check, before anything is imported, that the model file is there and is the one that was swept."""
    if kept.source.reference == LIVE:
        raise UsageError(
            f"{kept.path}: the sweep was made from live objects of a Python program, which are gone",
            hint="run that program again, or put the objects in a model file: lrfinder.sweep('model.py', out=...)",
        )
    announce_model(kept.source, kept.path, tell)
    if digest_of(check_reference(kept.source.reference)) != kept.model_sha256:
        raise RunError(
            f"{kept.path}: {kept.source.reference} has changed since the sweep began: the curves would not compare",
            hint="sweep again, or bring back the file as it was",
        )


def _check_options(given: Mapping[str, Any], kept: ResumableRun) -> None:
    """Raise UsageError if an option asks for something else than the run folder was begun with."""
    stored = {
        **asdict(kept.settings),
        **asdict(kept.source.training),
        "momentum": None,
        "weight_decay": None,
        **kept.source.optimizer_options,
        "model": kept.source.reference,
        "optimizer": kept.source.optimizer,
        "batch_size": kept.source.batch_size,
        "device": kept.source.device,
        "loader_timeout": kept.source.loader_timeout,
        "start_from": kept.source.start_from,
        "out": kept.path,
    }
    for name, value in given.items():
        if name in stored and stored[name] != value:
            option = _OPTIONS.get(name, f"--{name.replace('_', '-')}")
            raise UsageError(
                f"{option} {value} can't be given with --resume: {kept.path} was begun with {stored[name]}",
                hint="leave the option out, or sweep again with --out",
            )
