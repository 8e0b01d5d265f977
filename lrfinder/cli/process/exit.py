"""End the process of a command."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
from typing import NoReturn


def exit_fast(status: int) -> NoReturn:
    """Run the functions that are registered for the exit, flush the streams, and end the process.

    Python's own finalization is skipped: with torch it takes about a second, and it waits for the user's threads.
    """
    with contextlib.suppress(BaseException):
        atexit._run_exitfuncs()  # noqa: SLF001 - what `sys.exit` would run; there is no public name for it
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def stop_timers() -> None:
    """Stop the user's timers: at its end Python puts the default handlers back, which end the process by a signal."""
    if hasattr(signal, "setitimer"):  # Windows has none
        for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
            signal.setitimer(timer, 0)
