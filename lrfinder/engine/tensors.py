"""Tensors of the user: where they lie, what they contain, their hooks, whether they want a gradient, and which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn.parameter import is_lazy

from lrfinder.errors import ModelFileError
from lrfinder.task.hooks import remember_hooks


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
        self._memory: dict[tuple[torch.device, int, int], tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}
        self._copies: list[tuple[torch.Tensor, torch.Tensor]] = []

    def keep(self, tensor: torch.Tensor) -> None:
        """Remember `tensor`; raises ModelFileError where it doesn't exist yet (a lazy layer's)."""
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
            key = (storage.device, storage.data_ptr(), storage.nbytes())
            if key not in self._memory:
                # On the host, so that the model never takes its memory on the GPU twice.
                self._memory[key] = (storage, _on_host(storage))
        elif tensor.device.type != "meta":
            self._copies.append((tensor, tensor.detach().clone()))

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
        for storage, copy in self._memory.values():
            storage.copy_(copy)
        with torch.no_grad():
            for tensor, values in self._copies:
                tensor.copy_(values)

    def put_gradients_back(self) -> None:
        """Set every gradient to the tensor that it was."""
        for place in self._places:
            if place.gradient is not None:
                place.tensor.grad = place.gradient


def _on_host(storage: torch.UntypedStorage) -> torch.UntypedStorage:
    copy: torch.UntypedStorage = torch.UntypedStorage(storage.nbytes())  # type: ignore[no-untyped-call]
    return copy.copy_(storage)


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
