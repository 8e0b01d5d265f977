"""End the worker processes of a loader soon: after Ctrl-C nobody waits for a batch that isn't wanted any more."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from typing import Any

# How long a worker may go on before it is terminated, and then killed: together below the two seconds in which an
# interrupted sweep has to end. torch alone waits five seconds for each worker in turn.
GRACE_SECONDS = 0.5


def end_workers(iterator: object) -> None:
    """End the worker processes behind a DataLoader's iterator; do nothing for any other iterator.

    Dropping the iterator would be enough, but while an exception is raised its traceback keeps the iterator alive, and
    with it the worker processes. torch has no public name for this.
    """
    shut_down = getattr(iterator, "_shutdown_workers", None)
    if not callable(shut_down):
        return
    workers = tuple(getattr(iterator, "_workers", ()))
    ended = threading.Event()
    hurry = threading.Thread(target=_hurry, args=(workers, ended), daemon=True)
    hurry.start()
    try:
        # torch raises once more for a worker that was killed, wherever Python is then; we know it already.
        with contextlib.suppress(RuntimeError):
            _kill_beside_the_dead(workers)
        with contextlib.suppress(RuntimeError):
            if _kill_beside_the_dead(workers):
                iterator._workers_done_event = threading.Event()  # type: ignore[attr-defined]  # noqa: SLF001
            shut_down()
    finally:
        ended.set()
        hurry.join()


def _kill_beside_the_dead(workers: Sequence[Any]) -> bool:
    """Kill all workers if one of them has failed already, and tell whether one had.

    A worker that is killed while it asks `_workers_done_event.is_set()`, as it does before each batch, takes the lock
    of that event with it: torch's `set` would then wait for ever. With no worker left alive, any event will do.
    """
    failed = any(worker.exitcode for worker in workers)
    if failed:
        for worker in workers:
            worker.kill()
    return failed


def _hurry(workers: Sequence[Any], ended: threading.Event) -> None:
    if not ended.wait(GRACE_SECONDS):
        for worker in workers:
            worker.terminate()
    if not ended.wait(GRACE_SECONDS):
        for worker in workers:
            worker.kill()
