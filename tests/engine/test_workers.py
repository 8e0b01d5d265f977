"""Worker processes of a loader end soon, whatever they are at."""

from __future__ import annotations

import signal
import time

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from lrfinder.engine.workers import end_workers


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


@pytest.mark.parametrize("deaf", [False, True])
def test_stuck_workers_are_terminated_and_then_killed(deaf: bool) -> None:
    iterator = iter(DataLoader(Stuck(deaf=deaf), num_workers=2))
    processes = list(iterator._workers)
    time.sleep(1.0)  # they have begun
    began = time.monotonic()
    end_workers(iterator)
    assert time.monotonic() - began < 4  # torch alone takes five seconds for each
    assert not any(process.is_alive() for process in processes)


def test_what_is_no_loader_of_torch_is_left_alone() -> None:
    end_workers(iter([1, 2]))
    end_workers(None)
