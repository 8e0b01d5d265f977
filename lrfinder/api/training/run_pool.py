"""Make several trials at once, each in a process of its own on this machine."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import types
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lrfinder.api.training.trial import Plan, Trial, TrialSpec
from lrfinder.api.training.trial_maker import trial_maker
from lrfinder.errors import EnvironmentFailure, remember_frames
from lrfinder.paths import cwd, restore_cwd
from lrfinder.store import Source


class RunPool:
    """A pool of `jobs` processes that make trials of the model file of `source`, seeded by `seed`.

    Each process is a fresh one (a forked one could not use CUDA), imports the model file for each trial, in `folder` or
    the working folder, and computes with `threads`, or with its share of the cores. Use as a context manager: leaving
    it ends the processes; by an exception, whatever they are doing, else when each has made the trial that it is at.
    """

    def __init__(
        self, source: Source, *, seed: int, jobs: int, threads: int | None = None, folder: Path | None = None
    ) -> None:
        self._source = source
        self._folder = folder or cwd()
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
        with _without_main():  # this is where the processes are started
            waiting = [self._pool.submit(_made_or_told, TrialSpec(plan=plan, **given), self._folder) for plan in plans]
        try:
            for done in as_completed(waiting):
                yield done.result()
        except BrokenExecutor as error:
            raise EnvironmentFailure(
                "a process that made a trial died",
                hint="processes are often killed for lack of memory: use fewer --jobs",
            ) from error


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Let processes that are started meanwhile not run this program's main file.

    Python does that in each process that it spawns, for what may be pickled from there. Trials need nothing of it, and
    in a script without `if __name__ == "__main__":` all of it would run again.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


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


def _made_or_told(spec: TrialSpec, folder: Path | None) -> Trial:
    try:
        run_trial = trial_maker()
        with restore_cwd():  # the model file may leave the folder; the next trial of this process begins there again
            if folder is not None:
                os.chdir(folder)
            return run_trial(spec)
    except BaseException as error:
        remember_frames(error)
        raise
