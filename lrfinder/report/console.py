"""Consoles on standard output and standard error, whose broken pipe is an error like any other."""

from __future__ import annotations

import errno
import os
import sys
from typing import NoReturn

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

from lrfinder.errors import visible


class PipeConsole(Console):
    """Rich's console, but BrokenPipeError passes through if the reader left: rich itself ends with status 1."""

    def on_broken_pipe(self) -> NoReturn:
        """Raise BrokenPipeError."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


class Visible:
    """A table or a text without what a terminal would obey: names of runs and configs may be strangers'."""

    def __init__(self, part: RenderableType) -> None:
        self._part = part

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the part's segments."""
        for segment in console.render(self._part, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))


def stderr_console() -> Console:
    """Return a console on standard error that animates nothing off a terminal, whatever FORCE_COLOR says.

    It stays on the stream of now: the user's code may put another object there, which need not be a stream.
    """
    return PipeConsole(file=sys.stderr, force_interactive=None if sys.stderr.isatty() else False)
