"""What surrounds the user's code in a command: torch, standard output kept for results, and progress."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lrfinder.cli import garbage
from lrfinder.cli.children import kill_children_on_death
from lrfinder.cli.loading import load_torch
from lrfinder.cli.streams import redirect_user_output
from lrfinder.errors import ModelFileError, user_code_location

if TYPE_CHECKING:
    from lrfinder.records import SweepSettings
    from lrfinder.report.progress import SweepProgress


@contextlib.contextmanager
def watch_training(settings: SweepSettings, *, quiet: bool) -> Iterator[SweepProgress]:
    """Load torch, prepare for the user's code, and give the progress that observes the training.

    What the user's code prints goes to standard error: standard output holds results alone. No byte code is written
    beside the user's files, and no child outlives the command.
    """
    load_torch()
    from lrfinder.report.progress import SweepProgress

    sys.dont_write_bytecode = True
    kill_children_on_death()
    garbage.enable()
    with _here(), _pipes_are_the_users(), redirect_user_output(), SweepProgress(settings, quiet=quiet) as progress:
        yield progress


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
