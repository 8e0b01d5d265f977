"""The next batch on its way to the GPU while the current one is trained on.

What a loader draws for a batch on the host (a shuffle, an augmentation) it then draws one batch earlier: a model that
draws from the host's generators too gets other numbers than without, and the same ones every time.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, Protocol, Self

import torch

from lrfinder.task.batches import is_structure, parts_of, to_device
from lrfinder.task.problem import Problem


class DeviceCopier(Protocol):
    """Takes batches to a device in two steps, so that others can happen between them."""

    def send(self, batch: Any) -> Any:
        """Send a batch on its way, and return it as it will be there."""

    def receive(self, batch: Any) -> Any:
        """Return a batch that was sent, ready for use."""


class ReadAhead(Iterator[Any]):
    """An iterator over `batches` in their order; each is read and sent before the one before it is passed on.

    That they end, and an exception in reading one, shows when it is that one's turn. A batch that can't be sent is
    passed on as it is: whoever trains on it then meets the reason.
    """

    def __init__(self, batches: Iterator[Any], carrier: DeviceCopier) -> None:
        self._batches = batches
        self._carrier = carrier
        self._turn: Callable[[], Any] | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        turn = self._turn or self._read()
        self._turn = None
        batch = turn()
        self._turn = self._read()
        return batch

    def _read(self) -> Callable[[], Any]:
        """Read the next batch, and return what passes it on, or raises what came instead."""
        try:
            batch = next(self._batches)
        except Exception as error:  # noqa: BLE001 - StopIteration and whatever the loader raises, in its turn
            return _Raising(error)
        try:
            sent = self._carrier.send(batch)
        except Exception:  # noqa: BLE001 - no memory, for one: it may be there when it is this batch's turn
            return lambda: batch
        return lambda: self._carrier.receive(sent)


class _Raising:
    def __init__(self, error: Exception) -> None:
        self._error = error

    def __call__(self, *_: object) -> Any:
        raise self._error


class CopyStream:
    """Copies batches to a CUDA device on a stream of their own, beside the one that trains.

    A batch that holds objects which move themselves is left as it is: the memory of tensors that nobody sees can't be
    kept for the other stream.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def send(self, batch: Any) -> Any:
        """Begin the copy; from pinned memory it goes on by itself."""
        if tensors_in(batch) is None:
            return batch
        with torch.cuda.stream(self._stream):
            return to_device(batch, self._device)

    def receive(self, batch: Any) -> Any:
        """Have the training wait for the copy, on the device, and keep the memory until it is done with it."""
        training = torch.cuda.current_stream(self._device)
        training.wait_stream(self._stream)
        for tensor in tensors_in(batch) or ():
            if tensor.is_cuda:
                tensor.record_stream(training)
        return batch


def first_of(batches: Iterator[Any], count: int) -> tuple[list[Any], Iterator[Any]]:
    """Return the first `count` batches, or as many as there are, and an iterator over all of them.

    An exception in reading one of them shows when it is that one's turn.
    """
    first: list[Any] = []
    rest = batches
    for _ in range(count):
        try:
            first.append(next(batches))
        except StopIteration:
            break
        except Exception as error:  # noqa: BLE001 - whatever the loader raises, in its turn
            rest = map(_Raising(error), [None])
            break
    return first, itertools.chain(first, rest)


def tensors_in(batch: Any) -> list[torch.Tensor] | None:
    """Return every tensor in `batch`, however it is nested; None where something in it moves itself to a device."""
    if isinstance(batch, torch.Tensor):
        return [batch]
    if not is_structure(batch):
        return None if callable(getattr(batch, "to", None)) else []
    found: list[torch.Tensor] = []
    for part in parts_of(batch):
        tensors = tensors_in(part)
        if tensors is None:
            return None
        found += tensors
    return found


def read_ahead(problem: Problem, batches: Iterator[Any], device: torch.device, *, micro_batches: int) -> Iterator[Any]:
    """Return `batches`, those for a CUDA device read ahead and moved there.

    Not where memory has run out before (then batches are moved in parts), and not where the loader has only one start:
    the batch that was read and not trained on would be missed.
    """
    if device.type != "cuda" or micro_batches > 1 or isinstance(problem.train_loader, Iterator):
        return batches
    return ReadAhead(batches, CopyStream(device))
