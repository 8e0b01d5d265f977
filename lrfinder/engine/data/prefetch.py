"""Read the next batch and copy it to the GPU while the current one is trained on.

The loader then draws its random numbers on the host (a shuffle, an augmentation) one batch earlier. So a model that
draws from the host's generators, too, gets other numbers than without reading ahead; the same ones every time.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, Protocol, Self

import torch

from lrfinder.task.batches import is_structure, parts_of, to_device
from lrfinder.task.problem import Problem


class DeviceCopier(Protocol):
    """Copies batches to a device in two steps, so that other work can be done between them."""

    def start(self, batch: Any) -> Any:
        """Start the copy of a batch, and return the copy."""

    def finish(self, batch: Any) -> Any:
        """Return a copy that `start` returned, ready for use."""


class ReadAhead(Iterator[Any]):
    """An iterator over `batches` in their order. It reads each and starts its copy before it yields the one before.

    If reading one raises, or they end, that comes when it is that one's turn. If a batch can't be copied, it is yielded
    as it is, and the training on it raises the reason.
    """

    def __init__(self, batches: Iterator[Any], copier: DeviceCopier) -> None:
        self._batches = batches
        self._copier = copier
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
        """Read the next batch, and return a function that returns it, or raises what reading it raised."""
        try:
            batch = next(self._batches)
        except Exception as error:  # noqa: BLE001 - StopIteration and whatever the loader raises, in its turn
            return _Raising(error)
        try:
            started = self._copier.start(batch)
        except Exception:  # noqa: BLE001 - such as no memory, which may be there when it is this batch's turn
            return lambda: batch
        return lambda: self._copier.finish(started)


class _Raising:
    def __init__(self, error: Exception) -> None:
        self._error = error

    def __call__(self, *_: object) -> Any:
        raise self._error


class CopyStream:
    """Copies batches to a CUDA device on a stream of its own.

    A batch with objects that have a `to` of their own is left as it is: the memory of tensors that can't be seen can't
    be kept for the other stream.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def start(self, batch: Any) -> Any:
        """Start the copy; from pinned memory the host doesn't wait for it."""
        if tensors_in(batch) is None:
            return batch
        with torch.cuda.stream(self._stream):
            return to_device(batch, self._device)

    def finish(self, batch: Any) -> Any:
        """Make the training's stream wait for the copy, and keep the memory until that stream has used it."""
        training = torch.cuda.current_stream(self._device)
        training.wait_stream(self._stream)
        for tensor in tensors_in(batch) or ():
            if tensor.is_cuda:
                tensor.record_stream(training)
        return batch


def first_of(batches: Iterator[Any], count: int) -> tuple[list[Any], Iterator[Any]]:
    """Return the first `count` batches, or as many as there are, and an iterator over all of them.

    If reading one of them raises, that comes when it is that one's turn.
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
    """Return every tensor in `batch`, at any depth; None if something else in it has a `to` of its own."""
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
    """Return `batches`, read ahead and copied to `device` if that is CUDA.

    Not after memory has run out: then batches are moved in parts. Not for a loader that is an iterator either: it can't
    be started again, so a batch that was read and not trained on would be lost.
    """
    if device.type != "cuda" or micro_batches > 1 or isinstance(problem.train_loader, Iterator):
        return batches
    return ReadAhead(batches, CopyStream(device))
