"""Worker processes of a loader end soon, whatever they are at."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from lrfinder.engine.runtime.workers import end_workers, guard_workers


class Stuck(Dataset):
    """A data set whose samples take a minute, in a worker that may be deaf to SIGTERM."""

    def __init__(self, *, deaf: bool) -> None:
        self.deaf = deaf

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> torch.Tensor:
        if self.deaf:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(60)
        return torch.zeros(1)


@contextlib.contextmanager
def without_torchs_handler() -> Iterator[None]:
    """Torch's handler of SIGCHLD raises for a dead worker wherever Python is, in the test runner too."""
    torchs = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield
        gc.collect()  # here, not in another test
    finally:
        signal.signal(signal.SIGCHLD, torchs)


@pytest.mark.parametrize("deaf", [False, True])
def test_stuck_workers_are_terminated_and_then_killed(deaf: bool) -> None:
    iterator = iter(DataLoader(Stuck(deaf=deaf), num_workers=2))
    processes = list(iterator._workers)
    with without_torchs_handler():
        time.sleep(1.0)  # they have begun
        began = time.monotonic()
        end_workers(iterator)
        assert time.monotonic() - began < 4  # torch alone takes five seconds for each
        assert not any(process.is_alive() for process in processes)


class DiesWithTheLock(Dataset):
    """A data set whose second batch kills its worker while it holds the lock of torch's event, as `is_set` does."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> float:
        if index == 2:
            frame = sys._getframe()
            while "done_event" not in frame.f_locals:
                frame = frame.f_back
            frame.f_locals["done_event"]._cond.acquire()
            os.kill(os.getpid(), signal.SIGKILL)
        return 0.0


@pytest.mark.parametrize("persistent", [False, True])
def test_a_worker_killed_with_the_lock_of_torch_s_event_keeps_nobody_waiting(persistent: bool) -> None:
    # Lists of numbers: what a tensor of the one that dies is in would be asked for.
    loader = DataLoader(DiesWithTheLock(), num_workers=2, persistent_workers=persistent, collate_fn=list)
    iterator = iter(loader)
    event, processes = iterator._workers_done_event, list(iterator._workers)
    guard_workers(iterator)
    with without_torchs_handler():
        began = time.monotonic()
        with pytest.raises(RuntimeError, match=r"DataLoader worker .*(exited unexpectedly|killed)"):
            list(iterator)  # torch finds out which one died, and asks its event
        assert not event._cond.acquire(False)  # it would wait for ever
        end_workers(iterator)
        assert time.monotonic() - began < 15  # torch looks every five seconds
        assert not any(process.is_alive() for process in processes)


def test_what_is_no_loader_of_torch_is_left_alone() -> None:
    end_workers(iter([1, 2]))
    end_workers(None)


class Looping:
    """An iterator of torch's with one worker, which ends by itself, when it is terminated, or when it is killed."""

    def __init__(self, ends: str) -> None:
        self.ends = ends
        self.did: list[str] = []
        self._workers = [self]
        self._ended = threading.Event()

    def _shutdown_workers(self) -> None:
        if self.ends != "by itself":
            assert self._ended.wait(10), "nobody made it end"

    def terminate(self) -> None:
        self._do("terminated")

    def kill(self) -> None:
        self._do("killed")

    def _do(self, what: str) -> None:
        self.did.append(what)
        if what == self.ends:
            self._ended.set()


@pytest.mark.parametrize(
    ("ends", "did"), [("by itself", []), ("terminated", ["terminated"]), ("killed", ["terminated", "killed"])]
)
def test_no_harder_than_needed(monkeypatch: pytest.MonkeyPatch, ends: str, did: list[str]) -> None:
    monkeypatch.setattr("lrfinder.engine.runtime.workers.GRACE_SECONDS", 5.0 if ends == "by itself" else 0.05)
    iterator = Looping(ends)
    began = time.monotonic()
    end_workers(iterator)
    assert iterator.did == did
    assert time.monotonic() - began < 1


def test_what_torch_says_of_a_worker_that_was_killed_is_no_news() -> None:
    class Reporting(Looping):
        def _shutdown_workers(self) -> None:
            raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")

    end_workers(Reporting("by itself"))
