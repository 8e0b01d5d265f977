"""Tell a failure of the machine (no memory left, a loader worker that died) from one of the user's code."""

from __future__ import annotations

import traceback

import torch

from lrfinder.errors import EnvironmentFailure, words_of

# What allocators say; torch has a class of its own for CUDA's, and a plain RuntimeError for the others.
_NO_MEMORY = ("out of memory", "not enough memory", "defaultcpuallocator", "_status_alloc_failed")

_DEAD_WORKER = "DataLoader worker (pid"  # "... (pid(s) 7) exited unexpectedly", "... (pid 7) is killed by signal: ..."
_HUNG_WORKER = "DataLoader timed out"

# What reading from a worker's queue ends in when the worker was killed while it wrote.
_BROKEN_QUEUE = (ConnectionError, EOFError)


def environment_failure(error: Exception) -> EnvironmentFailure | None:
    """Return what failed in the environment, with advice, where `error` says that something did; else None."""
    text = words_of(error)
    if isinstance(error, RuntimeError) and (_DEAD_WORKER in text or _HUNG_WORKER in text):
        return _worker_failure(_first_line(text))
    if isinstance(error, _BROKEN_QUEUE) and _from_a_queue(error):
        return _worker_failure(f"a DataLoader worker died while a batch was read from it ({type(error).__name__})")
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(sign in text.lower() for sign in _NO_MEMORY)
    ):
        return EnvironmentFailure(
            f"out of memory: {_first_line(text) or type(error).__name__}",
            hint="use a smaller batch (`--batch-size N`), a smaller model, or another device (`--device cpu`)",
        )
    return None


def _worker_failure(message: str) -> EnvironmentFailure:
    return EnvironmentFailure(
        message,
        hint="workers are often killed for lack of memory or of shared memory (/dev/shm): use fewer of them; "
        "num_workers=0 in the DataLoader shows an error in the data set itself",
    )


def _from_a_queue(error: Exception) -> bool:
    # The same exceptions from the data set's own sockets and files end in other modules.
    frames = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(frames) and frames[-1].startswith("multiprocessing.")


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
