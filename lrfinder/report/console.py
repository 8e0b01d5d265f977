"""A console whose broken pipe is an error like any other."""

from __future__ import annotations

import errno
import os
from typing import NoReturn

from rich.console import Console


class PipeConsole(Console):
    """Rich's console, but BrokenPipeError passes through if the reader left: rich itself ends with status 1."""

    def on_broken_pipe(self) -> NoReturn:
        """Raise BrokenPipeError."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
