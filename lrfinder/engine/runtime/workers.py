"""Ending the worker processes of a loader, soon: whoever presses Ctrl-C doesn't wait for a batch that nobody wants."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from typing import Any

# How long a worker may finish what it is at before it is terminated, and then killed: together they stay below the two
# seconds in which an interrupted sweep is to end. torch alone waits five seconds for each worker in turn.
GRACE_SECONDS = 0.5


def end_workers(iterator: object) -> None:
    """End the worker processes behind a DataLoader's iterator; does nothing for any other.

    Dropping the iterator would do, but while an exception is on its way the traceback holds on to it, and with it to
    the worker processes. torch has no public name for this.
    """
    shut_down = getattr(iterator, "_shutdown_workers", None)
    if not callable(shut_down):
        return
    ended = threading.Event()
    hurry = threading.Thread(target=_hurry, args=(tuple(getattr(iterator, "_workers", ())), ended), daemon=True)
    hurry.start()
    try:
        # torch reports a worker that was killed, as if that were news.
        with contextlib.suppress(RuntimeError):
            shut_down()
    finally:
        ended.set()
        hurry.join()


def _hurry(workers: Sequence[Any], ended: threading.Event) -> None:
    if not ended.wait(GRACE_SECONDS):
        for worker in workers:
            worker.terminate()
    if not ended.wait(GRACE_SECONDS):
        for worker in workers:
            worker.kill()
