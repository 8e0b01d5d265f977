"""Tensors of the user: where they lie, what they contain, their hooks, whether they want a gradient, and which."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.parameter import is_lazy

from lrfinder.errors import ModelFileError
from lrfinder.task.hooks import remember_hooks

CACHE_LINE = 64  # bytes


@dataclass(slots=True)
class _Place:
    tensor: torch.Tensor
    data: torch.Tensor  # the same memory under another tensor, which moving the model doesn't move
    leaf: bool
    requires_grad: bool
    gradient: torch.Tensor | None


class TensorStates:
    """The state of every tensor that was kept."""

    def __init__(self) -> None:
        self._places: list[_Place] = []
        self._hooks: list[Callable[[], None]] = []
        self._memory: dict[tuple[torch.device, int, int], torch.UntypedStorage] = {}
        self._host = torch.empty(0, dtype=torch.uint8)
        self._copies: list[tuple[torch.Tensor, torch.Tensor]] = []

    def keep(self, tensor: torch.Tensor) -> None:
        """Remember `tensor`; `copy` then keeps what it contains.

        Raises ModelFileError where it doesn't exist yet (a lazy layer's).
        """
        if is_lazy(tensor):
            raise ModelFileError(
                "the model has lazy layers whose weights don't exist yet",
                hint="pass one batch through the model before the sweep, or give a function that makes the model",
            )
        gradient = tensor.grad if tensor.is_leaf else None  # torch warns where another's is asked for
        place = _Place(tensor, tensor.data, tensor.is_leaf, tensor.requires_grad, gradient)
        self._places.append(place)
        if place.leaf:
            self._hooks.append(remember_hooks(tensor))
        if _has_plain_memory(tensor):
            # Whole storages, each once: that covers tied, overlapping, expanded and oddly strided tensors alike.
            storage = place.data.untyped_storage()
            self._memory[storage.device, storage.data_ptr(), storage.nbytes()] = storage
        elif tensor.device.type != "meta":
            self._copies.append((tensor, tensor.detach().clone()))

    def copy(self) -> None:
        """Copy the memory of every tensor that was kept; once, after the last of them.

        On the host, so that the model never takes its memory on the GPU twice, and in one piece from NumPy, which asks
        the system for huge pages: of 300 MB the page faults alone take 0.1 s otherwise, five times as long as copying.
        """
        self._host = torch.from_numpy(np.empty(sum(map(_room, self._memory.values())), dtype=np.uint8))
        for storage, part in self._parts():
            _copy_bytes(_bytes_of(storage), part)

    def _parts(self) -> Iterator[tuple[torch.UntypedStorage, torch.Tensor]]:
        begin = 0
        for storage in self._memory.values():
            yield storage, self._host[begin : begin + storage.nbytes()]
            begin += _room(storage)

    def take_gradients_off(self) -> None:
        """Set every gradient to None, so that nothing is ever added to the user's."""
        for place in self._places:
            if place.gradient is not None:
                place.tensor.grad = None

    def rewind(self) -> None:
        """Put the tensors back where they were, with what they contained and without gradients."""
        for place in self._places:
            tensor = place.tensor
            if place.leaf:
                if not tensor.is_leaf:  # a buffer that the model added something with a gradient to, in place
                    tensor.detach_()
                tensor.grad = None
                tensor.requires_grad_(place.requires_grad)
            if not _lies_at(tensor, place.data):
                tensor.data = place.data
        for take_off in self._hooks:
            take_off()
        for storage, part in self._parts():
            _copy_bytes(part, _bytes_of(storage))
        with torch.no_grad():
            for tensor, values in self._copies:
                tensor.copy_(values)

    def put_gradients_back(self) -> None:
        """Set every gradient to the tensor that it was."""
        for place in self._places:
            if place.gradient is not None:
                place.tensor.grad = place.gradient


def _bytes_of(storage: torch.UntypedStorage) -> torch.Tensor:
    """Return a tensor over the same memory."""
    return torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)


def _copy_bytes(source: torch.Tensor, target: torch.Tensor) -> None:
    if source.device.type == target.device.type == "cpu":
        # One thread fills most of the memory's bandwidth; torch's several took two to four times as long.
        np.copyto(target.numpy(), source.numpy())
    else:
        target.copy_(source)


def _room(storage: torch.UntypedStorage) -> int:
    """Return the bytes that a storage takes in the copy: whole cache lines, as aligned as the memory itself is."""
    return -(-storage.nbytes() // CACHE_LINE) * CACHE_LINE


def _has_plain_memory(tensor: torch.Tensor) -> bool:
    # Sparse tensors have no storage of their own, and subclasses that wrap other tensors have an empty one.
    return (
        tensor.layout is torch.strided
        and tensor.device.type != "meta"
        and not torch.utils._python_dispatch.is_traceable_wrapper_subclass(tensor)  # noqa: SLF001 - no public name
    )


def _lies_at(tensor: torch.Tensor, data: torch.Tensor) -> bool:
    """Return whether `tensor` still is what `data` is: same memory, same shape."""
    if not _has_plain_memory(data):
        return tensor.device == data.device
    return (
        _has_plain_memory(tensor)
        and tensor.device == data.device
        and tensor.dtype == data.dtype
        and tensor.shape == data.shape
        and tensor.stride() == data.stride()
        and tensor.storage_offset() == data.storage_offset()
        and tensor.untyped_storage().data_ptr() == data.untyped_storage().data_ptr()
    )
