"""What surrounds the user's code while a command runs it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from lrfinder.cli.process import gc_control
from lrfinder.cli.process.children import kill_children_on_death
from lrfinder.cli.process.stdout import redirect_user_output
from lrfinder.errors import ModelFileError, user_code_location


@contextlib.contextmanager
def run_user_code() -> Iterator[None]:
    """Run the user's code: its output goes to standard error, its child processes end with the command.

    The garbage collector is on from here. No byte code is written beside the user's files. The arguments of the command
    line are not those of the user's code.
    """
    del sys.argv[1:]
    sys.dont_write_bytecode = True
    kill_children_on_death()
    gc_control.enable()
    with restore_cwd(), user_broken_pipe(), redirect_user_output():
        yield


@contextlib.contextmanager
def user_broken_pipe() -> Iterator[None]:
    """Raise a ModelFileError for a pipe that broke in the user's code.

    Typer takes any BrokenPipeError for one of its own output, and ends the command without a message.
    """
    try:
        yield
    except BrokenPipeError as error:
        place = user_code_location(error)
        if place is None:
            raise
        raise ModelFileError(f"your code failed in {place}: BrokenPipeError: {error}") from error


@contextlib.contextmanager
def restore_cwd() -> Iterator[None]:
    """Return to the working directory at the end: relative paths of the command line start there."""
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
