"""The first few batches over and over: a data set as much smaller as a short run is shorter than the planned one."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

import torch

from lrfinder.engine.data.fetch import NO_MORE
from lrfinder.errors import user_code

MOST_BYTES = 2 * 2**30  # of batches that are kept on the host: engine/README.md#most_bytes


class RepeatedSubset(Iterator[Any]):
    """An iterator over the first `number` of `batches` (all, if there are fewer), in their order, over and over.

    It keeps them in memory and yields copies. If they take more than `most_bytes`, it sets `too_large`, repeats
    nothing, and yields all that come.
    """

    def __init__(self, batches: Iterator[Any], number: int, *, most_bytes: int = MOST_BYTES) -> None:
        self.too_large = False
        self._batches = batches
        self._left = number
        self._bytes_left = most_bytes
        self._kept: list[Any] = []
        self._next = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        if self.too_large:
            return next(self._batches)
        if self._left > 0:
            batch = next(self._batches, NO_MORE)
            if batch is not NO_MORE:
                self._left -= 1
                self._keep(batch)
                return copied(batch)
            self._left = 0
        if not self._kept:
            raise StopIteration
        batch = self._kept[self._next]
        self._next = (self._next + 1) % len(self._kept)
        return copied(batch)

    def _keep(self, batch: Any) -> None:
        self._bytes_left -= size_in_bytes(batch)
        if self._bytes_left < 0:
            self.too_large = True
            self._kept.clear()
        else:
            self._kept.append(batch)


def copied(batch: Any) -> Any:
    """Return a deep copy of a kept batch: training may change it in place (to mask words, say)."""
    with user_code("copying a batch"):
        return copy.deepcopy(batch)


def size_in_bytes(batch: Any) -> int:
    """Return the bytes of the tensors in a batch."""
    return sum(tensor.numel() * tensor.element_size() for tensor in batch_tensors(batch))


def batch_tensors(batch: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors in a batch, in containers of any depth; none for unknown objects."""
    if isinstance(batch, torch.Tensor):
        yield batch
    parts: Iterable[Any] = ()
    if isinstance(batch, Mapping):
        parts = batch.values()
    elif isinstance(batch, list | tuple):
        parts = batch
    elif hasattr(batch, "__dict__") and not isinstance(batch, type | torch.nn.Module):
        parts = (part for part in vars(batch).values() if isinstance(part, torch.Tensor | Mapping | list | tuple))
    for part in parts:
        yield from batch_tensors(part)
