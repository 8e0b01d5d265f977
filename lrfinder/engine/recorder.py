"""Work that is sent to a GPU once, kept as a graph of its kernels, and repeated by one call: CUDA graphs.

Where the kernels are short, most of the time of an update goes into sending them one by one. A recorded piece of work
reads and writes the same memory each time: what changes between two updates (the batch, the rate) is written there
before. See "CUDA Graphs" in the notes on CUDA semantics of PyTorch's documentation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import torch

_Made = TypeVar("_Made")


class Recorder(Protocol):
    """Records work on one device."""

    def warm_up(self, work: Callable[[], _Made]) -> _Made:
        """Do the work as it is, where recording won't mind what it leaves behind."""

    def record(self, work: Callable[[], _Made]) -> tuple[_Made, Callable[[], object]]:
        """Return what `work` returned, its tensors without content yet, and what repeats it.

        Raises whatever the device raises for work that can't be recorded: it asks for a number, or for memory outside.
        """


class CudaRecorder:
    """Records CUDA graphs that share one pool of memory; they must be repeated in the order they were recorded in."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()

    def warm_up(self, work: Callable[[], _Made]) -> _Made:
        """Do the work on a stream of its own: on the default one libraries would set up what can't be recorded."""
        training = torch.cuda.current_stream(self._device)
        aside = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        aside.wait_stream(training)
        with torch.cuda.stream(aside):
            made = work()
        training.wait_stream(aside)
        return made

    def record(self, work: Callable[[], _Made]) -> tuple[_Made, Callable[[], object]]:
        """Record a graph; other threads (one that pins a loader's batches) may use CUDA meanwhile."""
        graph = torch.cuda.CUDAGraph()
        with (
            torch.cuda.device(self._device),
            torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"),
        ):
            made = work()
        return made, graph.replay


def recorder_for(device: torch.device) -> Recorder | None:
    """Return what records on `device`; None where nothing does."""
    return CudaRecorder(device) if device.type == "cuda" else None
