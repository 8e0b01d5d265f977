"""Consoles on standard output and standard error, whose broken pipe is an error like any other."""

from __future__ import annotations

import errno
import os
import sys
from typing import NoReturn

from rich.console import Console


class PipeConsole(Console):
    """Rich's console, but BrokenPipeError passes through if the reader left: rich itself ends with status 1."""

    def on_broken_pipe(self) -> NoReturn:
        """Raise BrokenPipeError."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def stderr_console() -> Console:
    """Return a console on standard error that animates nothing off a terminal, whatever FORCE_COLOR says.

    It stays on the stream of now: the user's code may put another object there, which need not be a stream.
    """
    return PipeConsole(file=sys.stderr, force_interactive=None if sys.stderr.isatty() else False)
