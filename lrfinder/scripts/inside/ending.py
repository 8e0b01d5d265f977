"""The end of the process in which the script runs."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import time
from typing import NoReturn

WORKERS_END_S = 2.0  # for the loader's workers to end by themselves, before they are killed
WAIT_S = 0.1  # between two looks of a process that waits to be killed
_leave = os._exit  # as it was before it is watched


def end_process(*, killed_by: int | None = None) -> NoReturn:
    """End the process: nothing of the script's runs on, no `finally`, no atexit.

    `killed_by` is the process that started this one and will kill it, since others of its group must not see it gone.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # the script may have closed or replaced it
            stream.flush()
    _end_workers()
    while killed_by is not None and os.getppid() == killed_by:
        time.sleep(WAIT_S)
    _leave(0)


def _end_workers() -> None:
    """End the loader's workers and other children, which would wait for this process."""
    workers = multiprocessing.active_children()
    with contextlib.suppress(ValueError):  # not the main thread, which handles signals
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler would raise that a worker was killed
    for worker in workers:
        worker.terminate()
    until = time.monotonic() + WORKERS_END_S
    for worker in workers:
        worker.join(max(0.0, until - time.monotonic()))
        if worker.is_alive():
            worker.kill()
