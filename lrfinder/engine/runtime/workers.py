"""End the worker processes of a loader soon: after Ctrl-C nobody should wait for them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from typing import Any

# How long a worker may go on before it is terminated, and then killed: together below the two seconds in which an
# interrupted sweep has to end. torch alone waits five seconds for each worker in turn.
GRACE_SECONDS = 0.5


def guard_workers(iterator: object) -> None:
    """Keep a killed worker of a new DataLoader iterator from blocking this process; leave other iterators alone.

    Each worker calls `_workers_done_event.is_set()` before a batch. If it is killed inside that call, the event stays
    locked, and torch's own `is_set` and `set` in this process wait for ever.
    """
    event = getattr(iterator, "_workers_done_event", None)
    if event is not None:
        iterator._workers_done_event = _DoneEvent(event, tuple(iterator._workers))  # type: ignore[attr-defined]  # noqa: SLF001


class _DoneEvent:
    """The event by which this process alone makes the workers end; takes the event's lock only if all are alive."""

    def __init__(self, shared: Any, workers: Sequence[Any]) -> None:
        self._shared = shared
        self._workers = workers
        self._is_set = False

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        if any(worker.exitcode for worker in self._workers):
            for worker in self._workers:
                worker.kill()
        else:
            self._shared.set()


def end_workers(iterator: object) -> None:
    """End the worker processes behind a DataLoader's iterator; do nothing for any other iterator.

    Deleting the iterator isn't enough: while an exception is raised, its traceback keeps the iterator and its workers
    alive. torch has no public name for this.
    """
    shut_down = getattr(iterator, "_shutdown_workers", None)
    if not callable(shut_down):
        return
    workers = tuple(getattr(iterator, "_workers", ()))
    ended = threading.Event()
    hurry = threading.Thread(target=_hurry, args=(workers, ended), daemon=True)
    hurry.start()
    try:
        # torch raises again for a worker that was killed; that is known already.
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
