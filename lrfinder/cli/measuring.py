"""Sweep a model file for a command: with its run folder and its progress."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from lrfinder.api.measure import measure
from lrfinder.api.result import Sweep
from lrfinder.api.sinks import Sink
from lrfinder.api.source import load_source_problem
from lrfinder.cli import garbage
from lrfinder.cli.children import kill_children_on_death
from lrfinder.cli.streams import redirect_user_output
from lrfinder.engine.observer import Observer
from lrfinder.errors import ModelFileError, user_code_location
from lrfinder.records import SweepSettings
from lrfinder.report.progress import SweepProgress
from lrfinder.store import ResumableRun, RunFolder, Source


@contextlib.contextmanager
def _pipes_are_the_users() -> Iterator[None]:
    """Name a pipe that broke in the user's code: Typer takes any for its own output's, and leaves without a word."""
    try:
        yield
    except BrokenPipeError as error:
        place = user_code_location(error)
        if place is None:
            raise
        raise ModelFileError(f"your code failed in {place}: BrokenPipeError: {error}") from error


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
    with users_code(), SweepProgress(settings, quiet=quiet) as progress:
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


@contextlib.contextmanager
def users_code() -> Iterator[None]:
    """Run the user's code for a command: standard output is kept for results, and no child outlives the command."""
    sys.dont_write_bytecode = True
    kill_children_on_death()
    garbage.enable()
    with _here(), _pipes_are_the_users(), redirect_user_output():
        yield


@contextlib.contextmanager
def _here() -> Iterator[None]:
    """Return to the working directory: the user's code may leave it, and the paths of the command line start there."""
    try:
        before = Path.cwd()
    except OSError:  # it was removed
        before = None
    try:
        yield
    finally:
        if before is not None:
            with contextlib.suppress(OSError):
                os.chdir(before)
