"""What surrounds the user's code while a command runs it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from lrfinder.cli.process.children import kill_children_on_death
from lrfinder.cli.process.stdout import redirect_user_output
from lrfinder.engine.runtime import gc_control
from lrfinder.engine.runtime.signals import Terminated
from lrfinder.errors import user_code_location


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
    with carried(), redirect_user_output():
        yield


class Carried(BaseException):
    """Holds an exception of the user's code as its cause, so that Typer doesn't see it.

    Typer takes a BrokenPipeError or an EOFError for one of its own streams, and its own exceptions for the command's.
    """


@contextlib.contextmanager
def carried() -> Iterator[None]:
    """Raise an exception of the user's code as the cause of Carried."""
    try:
        yield
    except (KeyboardInterrupt, Terminated):
        raise
    except BaseException as error:
        if user_code_location(error) is None:
            raise
        raise Carried from error
