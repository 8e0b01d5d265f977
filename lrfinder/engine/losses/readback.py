"""Losses on their way from the device to the host, a few at a time, while the loop goes on.

A loop that asks for each loss lets the device run dry after every update: the host waits for the result, and only then
sends the next update's work. `DelayedReadback` has the device write its numbers into a buffer, copies that to the host
a few at a time, and asks for a copy only once the next one is on its way: then the device always has work, and the host
is never more than two copies ahead of what it has read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import torch

from lrfinder.records import Metric, Precision
from lrfinder.task.optimizers.by_name import needs_closure
from lrfinder.task.problem import Problem, SweptOptimizer

# Numbers of a copy. What `put` returns is at most 2 * CHUNK - 1 = 7 calls old, so whatever ends a sweep ends it before
# eight further updates are made. By the time of a wait the device has four more to do.
CHUNK = 4

# Seconds after which what is under way is waited for: so updates that take as long are read one by one, and a killed
# sweep has written all but the last moment. Ten waits a second cost less than a thousandth.
MAX_DELAY_S = 0.1

# Seconds for which losses that are there at once may wait before they are judged: eight of a small net's updates.
# The look at the weights every eight ends it too, so at most seven updates are made in vain after a divergence.
BATCHING_S = 0.002

Pair = tuple[float, float]  # a loss, and the number that came with it; any number where none did


class DelayedReadback:
    """Reads numbers of `device` a chunk at a time, one chunk late; after `max_delay_s` seconds all there are.

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
        """Send a loss on its way, and return those of the chunk before, where this one is full now."""
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
        """Wait for what is under way, and return it."""
        half = self._halves[self._filling]
        half.send()
        return (*self._received(self._halves[1 - self._filling]), *self._received(half))

    def _received(self, half: _Half) -> Sequence[Pair]:
        pairs = half.received()
        if pairs:
            self._read = self._clock()
        return pairs


class _Half:
    """A part of the buffer, on the device and on the host; double precision holds every kind of loss exactly."""

    def __init__(self, device: torch.device, chunk: int) -> None:
        on_gpu = device.type == "cuda"
        self._device = device
        self._there = torch.zeros((chunk, 2), dtype=torch.float64, device=device)
        self._slots = [row.unbind() for row in self._there]
        self._here = torch.zeros((chunk, 2), dtype=torch.float64, pin_memory=on_gpu)
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
        """Copy what is there to the host, without waiting."""
        if self._count:
            self._here.copy_(self._there, non_blocking=True)
            if self._copied is not None:
                self._copied.record(torch.cuda.current_stream(self._device))

    def received(self) -> Sequence[Pair]:
        """Wait until what was sent is there, and return it; the half is empty then."""
        count, self._count = self._count, 0
        if not count:
            return ()
        if self._copied is not None:
            self._copied.synchronize()
        return [(loss, beside) for loss, beside in self._here[:count].tolist()]


def readback_for(
    problem: Problem, parts: Sequence[SweptOptimizer], device: torch.device, metric: Metric
) -> DelayedReadback | None:
    """Return what reads the losses of a training of `parts`; None: each is waited for."""
    return None if reason_to_wait(problem, parts, device, metric) else DelayedReadback(device)


def max_delay_s(problem: Problem, metric: Metric = Metric.TRAIN) -> float:
    """Return for how many seconds the losses of a training may be gathered, if no readback brings them late.

    0 where an update in vain after the end would show: batches of a loader with only one start would be missed, the
    loss scaler counts what it skips. Held-out losses take longer than anything here could save.
    """
    shows = isinstance(problem.train_loader, Iterator) or problem.training.precision is Precision.FP16
    return 0.0 if shows or metric is not Metric.TRAIN else BATCHING_S


def reason_to_wait(problem: Problem, parts: Sequence[SweptOptimizer], device: torch.device, metric: Metric) -> str:
    """Return why each loss is waited for before the next update is made; empty where losses may be read late."""
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
