"""Tell failures of the machine (no memory left, a dead loader worker) from failures of the user's code."""

from __future__ import annotations

import re
import signal
import time
import traceback
from collections.abc import Iterable
from typing import Any

import torch

from lrfinder.errors import EnvironmentFailure, error_text, user_code_location

# What allocators say; torch has a class of its own for CUDA's, and a plain RuntimeError for the others.
_NO_MEMORY = ("out of memory", "not enough memory", "defaultcpuallocator", "_status_alloc_failed")

_DEAD_WORKER = "DataLoader worker (pid"  # "... (pid(s) 7) exited unexpectedly", "... (pid 7) is killed by signal: ..."
_HUNG_WORKER = "DataLoader timed out"

# What reading from a worker's queue raises if the worker was killed while it wrote.
_BROKEN_QUEUE = (ConnectionError, EOFError)

# A killed process is seen as such a moment after its queue breaks.
_SEEN_DEAD_S = 2.0

_LONGEST = 1000  # characters of an exception's text that a record keeps


class BeginAgain(Exception):  # noqa: N818 - no error
    """A repeat or a run has learned what it needs to begin again."""


def environment_failure(error: BaseException, *, batch: int | None = None) -> EnvironmentFailure | None:
    """Return the failure of the environment that `error` reports, with advice; None if it reports none.

    `batch` is the number of the batch that the loader gives next.
    """
    if out_of_memory(error):
        return EnvironmentFailure(
            f"out of memory: {_first_line(error_text(error)) or type(error).__name__}",
            hint="use a smaller batch (`--batch-size N`), a smaller model, or another device (`--device cpu`)",
        )
    return dead_worker(error, batch)


def out_of_memory(error: BaseException) -> bool:
    """Return whether `error` is that of an allocator that has no memory left."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in error_text(error).lower() for sign in _NO_MEMORY)


def dead_worker(error: BaseException, batch: int | None, workers: Iterable[Any] = ()) -> EnvironmentFailure | None:
    """Return the failure of a DataLoader's worker that caused `error`, with its process and the batch; else None.

    `workers` are the loader's processes, if they are known: an error of a queue doesn't name the process. Waits up to
    two seconds for the end of one of them.
    """
    text = error_text(error)
    if isinstance(error, RuntimeError) and _HUNG_WORKER in text:
        return _worker_failure(f"{_first_line(text)}{_when(batch)}")
    broken_queue = isinstance(error, _BROKEN_QUEUE) and _from_a_queue(error)
    if not broken_queue and not (isinstance(error, RuntimeError) and _DEAD_WORKER in text):
        return None
    named = re.search(r"\(pid(?:\(s\))? ([\d, ]+)\)", text)
    dead = _dead(workers, wait_s=_SEEN_DEAD_S) or ([(pid, "") for pid in named[1].split(", ")] if named else [])
    return _death(dead, batch)


def silent_worker(batch: int, workers: Iterable[Any]) -> EnvironmentFailure | None:
    """Return the failure of those of `workers` that are dead, though no error has told of it; None if none is.

    torch's handler of a child's death raises wherever Python is, at times where exceptions are dropped.
    """
    dead = _dead(workers, wait_s=0.0)
    return _death(dead, batch) if dead else None


def _death(dead: list[tuple[str, str]], batch: int | None) -> EnvironmentFailure:
    who = ", ".join(f"{pid}{how}" for pid, how in dead) or "unknown"
    return _worker_failure(f"a DataLoader worker died{_when(batch)} (pid {who})")


def _dead(workers: Iterable[Any], *, wait_s: float) -> list[tuple[str, str]]:
    """Wait up to `wait_s` until a process has ended by a signal or an error; return which have, and how."""
    processes = list(workers)
    until = time.monotonic() + wait_s
    while processes:
        dead = [(str(process.pid), _how(process.exitcode)) for process in processes if process.exitcode]
        if dead or time.monotonic() >= until:
            return dead
        time.sleep(0.01)
    return []


def _how(exitcode: int) -> str:
    if exitcode > 0:
        return f", exit status {exitcode}"
    try:
        return f", {signal.Signals(-exitcode).name}"
    except ValueError:  # a real-time signal has no name
        return f", signal {-exitcode}"


def _when(batch: int | None) -> str:
    return "" if batch is None else f" when batch {batch} was due"


def _worker_failure(message: str) -> EnvironmentFailure:
    return EnvironmentFailure(
        message,
        hint="workers are often killed for lack of memory or of shared memory (/dev/shm): use fewer of them; "
        "num_workers=0 in the DataLoader shows an error in the data set itself",
    )


def _from_a_queue(error: BaseException) -> bool:
    # The data set's own sockets and files raise the same exceptions, but from other modules.
    frames = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(frames) and frames[-1].startswith("multiprocessing.")


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0].strip()


def describe_error(error: BaseException) -> str:
    """Return what happened in one line."""
    place = user_code_location(error)
    lines = error_text(error).strip().splitlines()
    if len(lines) > 1 and "worker process" in lines[0]:  # a DataLoader's; the last line is the error in the worker
        line = lines[-1].strip()[:_LONGEST]
    else:
        text = " ".join(" ".join(lines).split())[:_LONGEST]
        line = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return f"{line} (while {place})" if place else line
