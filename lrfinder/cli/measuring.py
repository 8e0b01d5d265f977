"""Sweep a model file for a command: with its run folder, its progress, and SIGTERM as an ending."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping

from lrfinder.api.measure import measure
from lrfinder.api.result import Sweep
from lrfinder.engine.observer import Observer
from lrfinder.engine.signals import terminate_as_exception
from lrfinder.errors import ModelFileError, place_of
from lrfinder.records import SweepSettings
from lrfinder.report.progress import SweepProgress
from lrfinder.store import RunFolder
from lrfinder.task.load import load_problem


@contextlib.contextmanager
def _pipes_are_the_users() -> Iterator[None]:
    """Name a pipe that broke in the user's code: Typer takes any for its own output's, and leaves without a word."""
    try:
        yield
    except BrokenPipeError as error:
        place = place_of(error)
        if place is None:
            raise
        raise ModelFileError(f"your code failed in {place}: BrokenPipeError: {error}") from error


def measure_file(
    reference: str,
    settings: SweepSettings,
    *,
    folder: RunFolder | None = None,
    device: str = "auto",
    optimizer: str | None = None,
    options: Mapping[str, float] | None = None,
    batch_size: int | None = None,
    quiet: bool = False,
) -> Sweep:
    """Import the model file and sweep it; Ctrl-C and SIGTERM end the sweep and keep what was measured.

    What the user's code prints goes to standard error: standard output holds results alone. No byte code is written
    beside the user's files.
    """
    sys.dont_write_bytecode = True
    with (
        _pipes_are_the_users(),
        terminate_as_exception(),
        contextlib.redirect_stdout(sys.stderr),
        SweepProgress(settings, quiet=quiet) as progress,
    ):
        problem = load_problem(reference, optimizer_name=optimizer, optimizer_options=options, batch_size=batch_size)
        observers: list[Observer] = [progress, *([folder] if folder is not None else [])]
        run = str(folder.path) if folder is not None else None
        return measure(problem, settings, device=device, observers=observers, run=run)
