"""Read losses from the device a few at a time, while the loop goes on.

A loop that reads each loss leaves the device without work after every update: the host waits for the result before it
sends the next update. `DelayedReadback` collects losses in a buffer on the device and copies it to the host. It waits
for a copy only after it has started the next one. So the device always has work, and the host is never more than two
copies ahead of what it has read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch

from lrfinder.records import Metric, Precision
from lrfinder.task.optimizers.by_name import needs_closure
from lrfinder.task.problem import Problem, SweptOptimizer

CHUNK = 4  # losses in a copy: engine/README.md#chunk
MAX_DELAY_S = 0.1  # seconds until all losses are waited for: engine/README.md#max_delay_s
BATCHING_S = 0.002  # seconds that losses may wait on the host: engine/README.md#batching_s

Pair = tuple[float, float]  # a loss, and the number that came with it; any number if none did


class Readback(Protocol):
    """Brings losses from where they are computed, some updates late."""

    def put(self, loss: torch.Tensor, beside: torch.Tensor | float | None) -> Sequence[Pair]:
        """Add a loss, and return those that have arrived."""

    def rest(self) -> Sequence[Pair]:
        """Wait for all losses that haven't been returned, and return them."""


class DelayedReadback:
    """Reads losses from `device` in chunks, each one chunk late; after `max_delay_s` seconds it reads all there are.

    The buffer has two halves: one is filled while the other is copied. `clock` returns seconds.
    """

    def __init__(
        self,
        device: torch.device,
        *,
        chunk: int = CHUNK,
        max_delay_s: float = MAX_DELAY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._halves = (_Half(device, chunk), _Half(device, chunk))
        self._filling = 0
        self._max_delay_s = max_delay_s
        self._clock = clock
        self._read = clock()

    def put(self, loss: torch.Tensor, beside: torch.Tensor | float | None) -> Sequence[Pair]:
        """Add a loss. If the chunk is full now, start its copy, and wait for the chunk before and return it."""
        half = self._halves[self._filling]
        half.add(loss, beside)
        if self._clock() - self._read >= self._max_delay_s:
            return self.rest()
        if not half.full:
            return ()
        half.send()
        self._filling = 1 - self._filling
        return self._received(self._halves[self._filling])

    def rest(self) -> Sequence[Pair]:
        """Wait for all losses that haven't been returned, and return them."""
        half = self._halves[self._filling]
        half.send()
        return (*self._received(self._halves[1 - self._filling]), *self._received(half))

    def _received(self, half: _Half) -> Sequence[Pair]:
        pairs = half.received()
        if pairs:
            self._read = self._clock()
        return pairs


class _Half:
    """Half of the buffer, on the device and on the host, in double precision, which holds every loss exactly."""

    def __init__(self, device: torch.device, chunk: int) -> None:
        on_gpu = device.type == "cuda"
        self._device = device
        self._there = torch.zeros((chunk, 2), dtype=torch.float64, device=device)
        self._slots = [row.unbind() for row in self._there]
        self._here = torch.zeros((chunk, 2), dtype=torch.float64, device="cpu", pin_memory=on_gpu)
        self._copied = torch.cuda.Event() if on_gpu else None  # type: ignore[no-untyped-call]
        self._count = 0

    @property
    def full(self) -> bool:
        return self._count == len(self._slots)

    def add(self, loss: torch.Tensor, beside: torch.Tensor | float | None) -> None:
        place, second = self._slots[self._count]
        self._count += 1
        place.copy_(loss)
        if beside is not None:
            second.copy_(torch.as_tensor(beside))

    def send(self) -> None:
        """Start the copy to the host."""
        if self._count:
            self._here.copy_(self._there, non_blocking=True)
            if self._copied is not None:
                self._copied.record(torch.cuda.current_stream(self._device))

    def received(self) -> Sequence[Pair]:
        """Wait for the copy, return it, and empty this half."""
        count, self._count = self._count, 0
        if not count:
            return ()
        if self._copied is not None:
            self._copied.synchronize()
        return [(loss, beside) for loss, beside in self._here[:count].tolist()]


def readback_for(
    problem: Problem, parts: Sequence[SweptOptimizer], device: torch.device, metric: Metric
) -> DelayedReadback | None:
    """Return what reads the losses of training with `parts`; None if each loss must be waited for."""
    return None if reason_to_wait(problem, parts, device, metric) else DelayedReadback(device)


def max_batching_delay_s(problem: Problem, metric: Metric = Metric.TRAIN) -> float:
    """Return for how many seconds losses may wait before they are judged, if there is no readback.

    0 if an update in vain after the end would show: a loader that is an iterator would have lost batches, and the loss
    scaler counts what it skips. Also 0 for held-out losses, which take much longer than this could save.
    """
    shows = isinstance(problem.train_loader, Iterator) or problem.training.precision is Precision.FP16
    return 0.0 if shows or metric is not Metric.TRAIN else BATCHING_S


def reason_to_wait(problem: Problem, parts: Sequence[SweptOptimizer], device: torch.device, metric: Metric) -> str:
    """Return why each loss must be waited for before the next update; empty if losses may be read late."""
    if device.type != "cuda":
        return f"{device.type} is not ahead of the host"
    if metric is not Metric.TRAIN:
        return "the held-out loss is computed on the host"
    if problem.training.precision is Precision.FP16:
        return "the loss scaler looks at every gradient"
    if any(needs_closure(type(part.optimizer)) for part in parts):
        return "the optimizer looks at its losses itself"
    if isinstance(problem.train_loader, Iterator):
        return "the loader has only one start: batches that are used up past an end would be missed"
    return ""
