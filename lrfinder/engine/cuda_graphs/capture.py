"""Work that is sent to a GPU once, kept as a graph of its kernels, and repeated by one call: CUDA graphs.

Where the kernels are short, most of the time of an update goes into sending them one by one. A recorded piece of work
reads and writes the same memory each time: what changes between two updates (the batch, the rate) is written there
before. See "CUDA Graphs" in the notes on CUDA semantics of PyTorch's documentation.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

import torch

_Made = TypeVar("_Made")


class GraphCapture(Protocol):
    """Records work on one device."""

    def warm_up(self, work: Callable[[], _Made]) -> _Made:
        """Do the work as it is, where recording won't mind what it leaves behind."""

    def watched(self) -> AbstractContextManager[None]:
        """Return a context in which work that can't be recorded, since it waits for the device, raises."""

    def record(self, work: Callable[[], _Made]) -> tuple[_Made, Callable[[], object]]:
        """Return what `work` returned, its tensors without content yet, and what repeats it.

        Raises whatever the device raises for work that can't be recorded: it asks for a number, or for memory outside.
        """


class CudaRecorder:
    """Records CUDA graphs that share one pool of memory; they must be repeated in the order they were recorded in.

    A failed capture leaves a generator that drew in it unusable (issue 171263 of PyTorch). So a copy of the generator's
    state draws while recording, and in what is repeated; where that fails, the generator gets its own state back.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()
        index: int | None = device.index  # torch's own annotation leaves the None out
        self._generator = torch.cuda.default_generators[torch.cuda.current_device() if index is None else index]
        self._own_state: torch.Generator | None = None

    def warm_up(self, work: Callable[[], _Made]) -> _Made:
        """Do the work on a stream of its own: on the default one libraries would set up what can't be recorded."""
        training = torch.cuda.current_stream(self._device)
        aside = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        aside.wait_stream(training)
        with torch.cuda.stream(aside):
            made = work()
        training.wait_stream(aside)
        return made

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Have torch raise at every call that waits."""
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode(before)

    def record(self, work: Callable[[], _Made]) -> tuple[_Made, Callable[[], object]]:
        """Record a graph; other threads (one that pins a loader's batches) may use CUDA meanwhile."""
        graph, training = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self._device)
        if self._own_state is None:
            self._own_state = self._generator.graphsafe_get_state()
            self._generator.graphsafe_set_state(self._own_state.clone_state())
        recording = torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local")
        try:
            with torch.cuda.device(self._device), recording:
                made = work()
        except BaseException:
            self._generator.graphsafe_set_state(self._own_state)
            raise
        finally:
            torch.cuda.set_stream(training)  # a capture that fails stays on its own
        return made, graph.replay


def recorder_for(device: torch.device) -> GraphCapture | None:
    """Return what records on `device`; None where nothing does."""
    return CudaRecorder(device) if device.type == "cuda" else None
