"""Remember the user's tensors and put them back: memory, contents, hooks, `requires_grad` and gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.parameter import is_lazy

from lrfinder.engine.runtime.divided import local_part
from lrfinder.errors import ModelFileError
from lrfinder.task.hooks import remember_hooks

Marks = list[tuple[int, float | complex]]  # of tensors: how often each was written to, and the sum of its numbers

CACHE_LINE = 64  # bytes
_COMPARED = 2**20  # bytes at once: what has changed differs in the first of them, mostly


@dataclass(slots=True)
class _SavedTensor:
    tensor: torch.Tensor
    data: torch.Tensor  # the same memory, in a tensor that stays if the model is moved
    leaf: bool
    requires_grad: bool
    gradient: torch.Tensor | None
    version: int | None = None  # of a constant one


class TensorStates:
    """The state of every tensor that was kept. Without `on_host` copies of what they contain stay on their devices."""

    def __init__(self, *, on_host: bool = True) -> None:
        self._on_host = on_host
        self._saved: list[_SavedTensor] = []
        self._hooks: list[Callable[[], None]] = []
        self._memory: dict[tuple[torch.device, int, int], torch.UntypedStorage] = {}
        self._host = torch.empty(0, dtype=torch.uint8, device="cpu")
        self._copies: list[tuple[torch.Tensor, torch.Tensor]] = []

    def keep(self, tensor: torch.Tensor, *, constant: bool = False) -> None:
        """Remember `tensor`; `copy` then keeps what it contains, unless it is constant.

        Raises ModelFileError for the weights of a lazy layer, which don't exist yet.
        """
        if is_lazy(tensor):
            raise ModelFileError(
                "the model has lazy layers whose weights don't exist yet",
                hint="pass one batch through the model before the sweep, or give a function that makes the model",
            )
        gradient = tensor.grad if tensor.is_leaf else None  # torch warns if the gradient of another is read
        saved = _SavedTensor(tensor, tensor.data, tensor.is_leaf, tensor.requires_grad, gradient)
        self._saved.append(saved)
        if saved.leaf:
            self._hooks.append(remember_hooks(tensor))
        if constant:
            saved.version = tensor._version  # noqa: SLF001 - no public name
        elif _has_plain_memory(part := local_part(tensor)) and (self._on_host or _overlaps(part)):
            # Whole storages, each once: so tied, overlapping, expanded and strided tensors need no cases.
            storage = part.data.untyped_storage()
            self._memory[_place(storage)] = storage
        elif tensor.device.type != "meta":
            self._copies.append((tensor, tensor.detach().clone()))

    def copy(self) -> None:
        """Copy the memory of every kept tensor to the host; call it once, after the last `keep`.

        On the host, so that the model doesn't take twice its memory on the GPU. In one array of NumPy, which asks the
        system for huge pages: otherwise the page faults for 300 MB take 0.1 s, five times as long as the copy.
        """
        self._host = torch.from_numpy(np.empty(sum(map(_room, self._memory.values())), dtype=np.uint8))
        for storage, part in self._parts():
            _copy_bytes(_bytes_of(storage), part)

    def _parts(self) -> Iterator[tuple[torch.UntypedStorage, torch.Tensor]]:
        begin = 0
        for storage in self._memory.values():
            yield storage, self._host[begin : begin + storage.nbytes()]
            begin += _room(storage)

    def unchanged(self, tensors: Iterable[torch.Tensor]) -> bool:
        """Tell whether the memory of all `tensors` holds what it held; False if one has been moved or wasn't kept."""
        parts = map(local_part, tensors)
        places = [_place(part.data.untyped_storage()) for part in parts if _has_plain_memory(part)]
        if not places or not all(place in self._memory for place in places):
            return False
        wanted = set(places)
        return all(
            torch.equal(_bytes_of(storage).cpu(), part) for storage, part in self._parts() if _place(storage) in wanted
        )

    def take_gradients_off(self) -> None:
        """Set every gradient to None, so that nothing is added to the user's gradients."""
        for saved in self._saved:
            if saved.gradient is not None:
                saved.tensor.grad = None

    def rewind(self) -> None:
        """Put the tensors back to their memory and contents, with gradients of None, and remove hooks added since.

        Memory on the host that holds what it held isn't written to: a file may be mapped there, for reading alone.
        Raises ModelFileError if constant ones were written to.
        """
        for saved in self._saved:
            tensor = saved.tensor
            if saved.leaf:
                if not tensor.is_leaf:  # a buffer to which the model added, in place, something with a gradient
                    tensor.detach_()
                tensor.grad = None
                tensor.requires_grad_(saved.requires_grad)
            if not _same_storage(tensor, saved.data):
                tensor.data = saved.data
        for take_off in self._hooks:
            take_off()
        self._write_back()
        written = [saved for saved in self._saved if saved.version not in {None, saved.tensor._version}]  # noqa: SLF001
        if written:
            raise ModelFileError(
                f"training wrote to {len(written)} frozen weights of the adapters' base model, which can't be put back",
                hint="give a function that makes the model, or load it again before you go on",
            )

    def _write_back(self) -> None:
        for storage, part in self._parts():
            there = _bytes_of(storage)
            if not _holds(there, part):
                _copy_bytes(part, there)
        with torch.no_grad():
            for tensor, values in self._copies:
                if not _holds(tensor, values):
                    tensor.copy_(values)

    def put_gradients_back(self) -> None:
        """Set every gradient to the tensor that it was at the beginning."""
        for saved in self._saved:
            if saved.gradient is not None:
                saved.tensor.grad = saved.gradient


def weights_of(optimizers: Iterable[torch.optim.Optimizer]) -> list[torch.Tensor]:
    """Return the weights that `optimizers` step."""
    return [weight for optimizer in optimizers for group in optimizer.param_groups for weight in group["params"]]


def marks_of(tensors: Iterable[torch.Tensor]) -> Marks | None:
    """Return what tells, without a copy, whether `tensors` were changed; None if there are none or some of a rare kind.

    The sums, too: an optimizer that writes to the `data` of a weight isn't counted.
    """
    parts = [(tensor._version, local_part(tensor).detach()) for tensor in tensors]  # noqa: SLF001 - no public name
    if not parts or not all(_has_plain_memory(part) for _, part in parts):
        return None
    wide = {torch.float16: torch.float32, torch.bfloat16: torch.float32}
    return [(version, part.sum(dtype=wide.get(part.dtype)).item()) for version, part in parts]


def _overlaps(tensor: torch.Tensor) -> bool:
    """Return whether several elements of `tensor` are, or may be, in the same place."""
    return torch._debug_has_internal_overlap(tensor) != 0  # noqa: SLF001 - no public name


def _place(storage: torch.UntypedStorage) -> tuple[torch.device, int, int]:
    return storage.device, storage.data_ptr(), storage.nbytes()


def _bytes_of(storage: torch.UntypedStorage) -> torch.Tensor:
    """Return a tensor over the same memory."""
    return torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)


def _holds(tensor: torch.Tensor, values: torch.Tensor) -> bool:
    """Return whether `tensor` is known to hold `values`, bit for bit: nobody waits for a device to tell it."""
    if tensor.device.type != "cpu" or tensor.is_quantized or not _has_plain_memory(tensor):
        return False
    one, other = _bytes_in(tensor), _bytes_in(values)
    chunks = (slice(begin, begin + _COMPARED) for begin in range(0, len(one), _COMPARED))
    return all(np.array_equal(one[chunk], other[chunk]) for chunk in chunks)


def _bytes_in(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    plain = tensor.detach().resolve_conj().resolve_neg().contiguous()
    return plain.flatten().view(torch.uint8).numpy()


def _copy_bytes(source: torch.Tensor, target: torch.Tensor) -> None:
    if source.device.type == target.device.type == "cpu":
        # One thread uses most of the memory's bandwidth; torch's threads took two to four times as long.
        np.copyto(target.numpy(), source.numpy())
    else:
        target.copy_(source)


def _room(storage: torch.UntypedStorage) -> int:
    """Return the bytes that a storage takes in the copy: whole cache lines, for alignment."""
    return -(-storage.nbytes() // CACHE_LINE) * CACHE_LINE


def _has_plain_memory(tensor: torch.Tensor) -> bool:
    # Sparse tensors have no storage of their own, and subclasses that wrap other tensors have an empty one.
    return (
        tensor.layout is torch.strided
        and tensor.device.type != "meta"
        and not torch.utils._python_dispatch.is_traceable_wrapper_subclass(tensor)  # noqa: SLF001 - no public name
    )


def _same_storage(tensor: torch.Tensor, data: torch.Tensor) -> bool:
    """Return whether `tensor` has the memory, shape and strides of `data`."""
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
