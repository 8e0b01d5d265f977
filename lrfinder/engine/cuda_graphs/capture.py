"""CUDA graphs: work is captured once as a graph of its kernels, and replayed by one call.

If the kernels are short, most of the time of an update goes into sending them one by one. A captured piece of work
reads and writes the same memory at each replay. What changes between two updates (the batch, the rate) is written
there before. See "CUDA Graphs" in the notes on CUDA semantics of PyTorch's documentation.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

import torch

_Made = TypeVar("_Made")


class GraphCapture(Protocol):
    """Captures work on one device."""

    def warm_up(self, work: Callable[[], _Made]) -> _Made:
        """Do the work without capturing it, before the first capture."""

    def watched(self) -> AbstractContextManager[None]:
        """Return a context that raises for work which waits for the device, and so can't be captured."""

    def capture(self, work: Callable[[], _Made]) -> tuple[_Made, Callable[[], object]]:
        """Return what `work` returned, and a function that replays it. The tensors have no content before a replay.

        Raises what the device raises for work that can't be captured: it reads a number, or asks for other memory.
        """


class CudaGraphCapture:
    """Captures CUDA graphs that share one pool of memory. Replay them in the order in which they were captured.

    If a capture fails, a generator that drew numbers in it can't be used any more (issue 171263 of PyTorch). So the
    generator works on a copy of its state in captures and replays. If a capture fails, it gets its own state back.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()
        index: int | None = device.index  # torch's own annotation leaves the None out
        self._generator = torch.cuda.default_generators[torch.cuda.current_device() if index is None else index]
        self._own_state: torch.Generator | None = None

    def warm_up(self, work: Callable[[], _Made]) -> _Made:
        """Do the work on a stream of its own: on the default one libraries would set up what can't be captured."""
        training = torch.cuda.current_stream(self._device)
        aside = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        aside.wait_stream(training)
        with torch.cuda.stream(aside):
            made = work()
        training.wait_stream(aside)
        return made

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Make torch raise at every call that waits; the mode is put back afterwards."""
        before = torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Synchronization debug mode is a prototype")
            torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode(before)

    def capture(self, work: Callable[[], _Made]) -> tuple[_Made, Callable[[], object]]:
        """Capture a graph. Other threads may use CUDA meanwhile, such as the one that pins a loader's batches."""
        graph, training = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self._device)
        if self._own_state is None:
            self._own_state = self._generator.graphsafe_get_state()
            self._generator.graphsafe_set_state(self._own_state.clone_state())
        capturing = torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local")
        try:
            with torch.cuda.device(self._device), capturing:
                made = work()
        except BaseException:
            self._generator.graphsafe_set_state(self._own_state)
            raise
        finally:
            torch.cuda.set_stream(training)  # a capture that fails stays on its own
        return made, graph.replay


def capture_for(device: torch.device) -> GraphCapture | None:
    """Return what captures work on `device`; None if nothing can."""
    return CudaGraphCapture(device) if device.type == "cuda" else None
