"""`lrfinder.resume`: carry on a sweep that was cut short."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

from lrfinder.advice import Request, advise, gather_evidence
from lrfinder.api.checks import check_model
from lrfinder.api.measure import measure
from lrfinder.api.result import Sweep
from lrfinder.api.source import load_source_problem
from lrfinder.engine.observer import Observer
from lrfinder.files import write_atomic
from lrfinder.report.figure import curve_png
from lrfinder.report.progress import SweepProgress
from lrfinder.store import PICTURE, RunFolder, load_unfinished


def resume(run: str | os.PathLike[str], *, progress: bool = False) -> Sweep:
    """Carry on the sweep of a run folder that was killed, interrupted, or failed, and return its whole result.

    `run` is a folder that `sweep("model.py", out=...)` or `lrfinder sweep` wrote; model and settings come from it.
    Repeats and short runs that had ended by themselves are kept, the others are made again from their beginning: on a
    CPU the folder then holds what an uninterrupted sweep would have written. `max_seconds` counts from now.

    Raises RunError for a damaged folder, one that another process is writing, a model file that has changed, and where
    device, versions or optimizer differ; UsageError where the sweep was made from live objects. All else is as in
    `sweep`.
    """
    kept = load_unfinished(Path(run))
    check_model(kept)
    with ExitStack() as stack:
        folder = stack.enter_context(RunFolder.resume(kept))
        problem = load_source_problem(kept.source, seed=kept.settings.seed)
        observers: list[Observer] = [folder]
        if progress:
            observers.append(stack.enter_context(SweepProgress(kept.settings)))
        result = measure(
            problem, kept.settings, device=kept.source.device, observers=observers, run=str(kept.path), kept=kept
        )
    write_atomic(folder.place / PICTURE, curve_png(advise(gather_evidence(result), Request()).chart(result)))
    return result
