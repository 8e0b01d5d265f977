"""The first batches of a sweep, taken once and kept: every repeat and every rate trains on them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterator
from typing import Any

import torch

from lrfinder.engine.data.subset import MOST_BYTES, copied, size_in_bytes
from lrfinder.errors import UsageError
from lrfinder.task.batches import to_device

# Batches are kept on the GPU if they take no more than this share of its free memory.
DEVICE_SHARE = 0.1


class BatchCache:
    """`number` batches to train on, and at least `held_out` more to judge by; empty until `fill`."""

    def __init__(self, number: int, *, held_out: int, device: torch.device, most_bytes: int = MOST_BYTES) -> None:
        self.filled = False
        self._number = number
        self._wanted = held_out
        self._device = device
        self._most_bytes = most_bytes
        self._batches: list[Any] = []
        self._held_out: list[Any] = []

    def __len__(self) -> int:
        """Return how many batches are trained on: fewer than asked for if the loader gave fewer."""
        return len(self._batches)

    def fill(self, batches: Iterator[Any], missing: Callable[[list[Any]], int]) -> None:
        """Take and keep the batches, first those to train on. Raises UsageError if they take too much memory.

        `missing` tells how many more are needed to judge by than the ones that it gets.
        """
        sizes: list[int] = []
        read = self._within_memory(batches, sizes)
        training, held_out = list(itertools.islice(read, self._number)), list(itertools.islice(read, self._wanted))
        if held_out:
            held_out += itertools.islice(read, missing(held_out))
        if sum(sizes) <= self._room():
            training, held_out = ([to_device(batch, self._device) for batch in part] for part in (training, held_out))
        self._batches, self._held_out = training, held_out
        self.filled = True

    def _within_memory(self, batches: Iterator[Any], sizes: list[int]) -> Iterator[Any]:
        """Yield `batches` and add their sizes in bytes to `sizes`, as long as they may be kept."""
        for batch in batches:
            sizes.append(size_in_bytes(batch))
            if sum(sizes) > self._most_bytes:
                raise UsageError(
                    f"{self._number} batches can't be kept: {len(sizes)} take more than "
                    f"{self._most_bytes / 2**30:.3g} GiB",
                    hint="keep fewer: --cache-batches N (cache_batches=N)",
                )
            yield batch

    def training(self) -> Generator[Any, None, None]:
        """Yield copies of the batches to train on, over and over."""
        for batch in itertools.cycle(self._batches):
            yield copied(batch)

    def held_out(self) -> list[Any]:
        """Return the batches to judge by; batches of the training if the data ended before them."""
        return self._held_out or self._batches

    def _room(self) -> float:
        if self._device.type != "cuda":
            return 0.0  # what is on the host needs no move for a CPU, and shares the memory of an MPS device
        return DEVICE_SHARE * torch.cuda.mem_get_info(self._device)[0]
