"""Sweep a model file for a command: with its run folder and its progress."""

from __future__ import annotations

from collections.abc import Sequence

from lrfinder.api.measure import measure
from lrfinder.api.result import Sweep
from lrfinder.api.sinks import Sink
from lrfinder.api.source import load_source_problem
from lrfinder.cli.process.user_code import run_user_code
from lrfinder.engine.observer import Observer
from lrfinder.records import SweepSettings
from lrfinder.report.progress import SweepProgress
from lrfinder.store import ResumableRun, RunFolder, Source


def measure_file(
    source: Source,
    settings: SweepSettings,
    *,
    folder: RunFolder | None = None,
    kept: ResumableRun | None = None,
    sinks: Sequence[str] = (),
    quiet: bool = False,
) -> Sweep:
    """Import the model file and sweep it; Ctrl-C and SIGTERM end the sweep and keep what was measured.

    What the user's code prints goes to standard error: standard output holds results alone. No byte code is written
    beside the user's files.
    """
    with run_user_code(), SweepProgress(settings, quiet=quiet) as progress:
        observers: list[Observer] = [*([folder] if folder is not None else []), progress]
        observers.extend(Sink(name, settings) for name in sinks)
        run = str(folder.path) if folder is not None else None
        return measure(
            load_source_problem(source, seed=settings.seed),
            settings,
            device=source.device,
            observers=observers,
            run=run,
            kept=kept,
        )
