"""Which functions of the package one update of a sweep passes, and in how many files: prints the path.

    python tests/benchmarks/trace_update.py

The plainest model: a perceptron, a loss function, a DataLoader and SGD, on a CPU. The update is one in the steady
state, the one that is judged by itself, as every update is that takes 2 ms or more. First from Python without anybody
who listens, then with the run folder and the progress. `torch.set_num_threads(1)`; what is counted doesn't depend on
the machine. Calls are those that `sys.setprofile` reports in files of the package, the resumed generators included.
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import mock

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lrfinder

PACKAGE = str(Path(lrfinder.__file__).parent)
STEADY = 21  # and the two after it, no multiples of eight: then the weights are looked at, too
BATCHING = "lrfinder.engine.losses.readback.BATCHING_S"


UPDATES: list[list[str]] = []  # not in the model: what it holds is put back after a sweep


class _Traced(nn.Module):
    """A perceptron that begins a new list of calls each time it is called in training."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))

    def forward(self, inputs: torch.Tensor) -> Any:
        if torch.is_grad_enabled():
            UPDATES.append([])
        return self.layers(inputs)


def path_of_an_update(**options: Any) -> list[str]:
    """Return the calls of one update, "file:function" in their order, from the model's call to its next one."""
    UPDATES.clear()
    data = TensorDataset(torch.randn(64, 4), torch.randn(64, 1))

    def note(frame: FrameType, event: str, _: object) -> None:
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(PACKAGE) and UPDATES:
            UPDATES[-1].append(f"{Path(file).relative_to(PACKAGE)}:{frame.f_code.co_qualname}")

    with _profiled(note), mock.patch(BATCHING, 0.0):
        lrfinder.sweep(
            _Traced,
            train_loader=DataLoader(data, batch_size=16),
            loss_fn=nn.functional.mse_loss,
            optimizer="sgd",
            mode="continuous",
            max_lr=1e-3,
            device="cpu",
            steps=2 * STEADY,
            repeats=1,
            **options,
        )
    return min(UPDATES[STEADY : STEADY + 3], key=len)  # now and then one draws the progress, or writes to the disk


@contextlib.contextmanager
def _profiled(note: Any) -> Iterator[None]:
    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(before)


def files_of(path: list[str]) -> set[str]:
    """Return the files that a path passes."""
    return {call.partition(":")[0] for call in path}


def path_with_folder_and_progress() -> list[str]:
    """Return the path of an update that a run folder and the progress are told of."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        return path_of_an_update(out=Path(folder) / "run", progress=True)


def main() -> None:
    """Print both paths."""
    torch.set_num_threads(1)
    for title, path in (
        ("Python alone", path_of_an_update()),
        ("run folder, progress", path_with_folder_and_progress()),
    ):
        print(f"{title}: {len(files_of(path))} files, {len(path)} calls")
        for call in path:
            print(f"    {call}")


if __name__ == "__main__":
    main()
