"""Make several trials at once, each in a process of its own on this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed
from types import TracebackType
from typing import Any, Self

from lrfinder.api.training.run_trial import Plan, Trial, TrialSpec, run_trial
from lrfinder.errors import EnvironmentFailure, remember_frames
from lrfinder.store import Source


class RunPool:
    """A pool of `jobs` processes that make trials of the model file of `source`, seeded by `seed`.

    Each process is a fresh one (a forked one could not use CUDA), imports the model file for each trial, and computes
    with `threads`, or with its share of the cores. Use as a context manager: leaving it ends the processes, whatever
    they are doing.
    """

    def __init__(self, source: Source, *, seed: int, jobs: int, threads: int | None = None) -> None:
        self._source = source
        self._seed = seed
        self._threads = threads or max(1, (os.cpu_count() or 1) // jobs)
        self._pool = ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_begin)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A run can last for minutes: leaving early must not wait for it. There is no public way to end the processes.
        processes = list((getattr(self._pool, "_processes", None) or {}).values())
        self._pool.shutdown(wait=False, cancel_futures=True)
        if error is not None:
            for process in processes:
                process.kill()
        for process in processes:
            process.join()

    def run(self, plans: Sequence[Plan], until: float | None = None) -> Iterator[Trial]:
        """Yield the trials as they end. An exception of the user's code in a process is raised here.

        Raises EnvironmentFailure if a process died.
        """
        given: dict[str, Any] = {"source": self._source, "seed": self._seed, "threads": self._threads, "until": until}
        waiting = [self._pool.submit(_made_or_told, TrialSpec(plan=plan, **given)) for plan in plans]
        try:
            for done in as_completed(waiting):
                yield done.result()
        except BrokenExecutor as error:
            raise EnvironmentFailure(
                "a process that made a trial died",
                hint="processes are often killed for lack of memory: use fewer --jobs",
            ) from error


def _begin() -> None:
    # Ctrl-C in a terminal reaches every process; the parent then ends these.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    """End this process when its parent is gone: a killed parent can't end it, and it would wait for work forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _made_or_told(spec: TrialSpec) -> Trial:
    try:
        return run_trial(spec)
    except BaseException as error:
        remember_frames(error)
        raise
