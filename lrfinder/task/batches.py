"""Go through a batch, however it is nested, and move it to a device."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, MutableMapping
from functools import partial
from typing import Any

import torch


def to_device(batch: Any, device: torch.device) -> Any:  # noqa: PLR0911 - one for each kind
    """Return `batch` with every tensor in it on `device`, the structure and the types of containers kept.

    Tuples, lists, named tuples, mappings (a tokenizer's BatchEncoding among them) and dataclasses are gone through,
    objects with a `.to(device)` of their own are asked, anything else is left as it is. Nothing waits for a copy to
    CUDA. The batch that came in is never changed: a loader may hand out the same object again.
    """
    kind = type(batch)
    if kind is list or kind is tuple:  # most are: asked first, and not by isinstance, which takes ten times as long
        for item in batch:
            if type(item) is not torch.Tensor or item.device != device:
                return kind([to_device(item, device) for item in batch])
        return kind(batch)  # nothing to move, as always on a CPU: without a call for each item
    if isinstance(batch, torch.Tensor):
        if batch.device == device:  # what `to` would find out, in a fifth of the time
            return batch
        # To CUDA nothing needs to wait: what is not pinned is in a buffer of the driver's when the call returns.
        return batch.to(device, non_blocking=device.type == "cuda")
    move = partial(to_device, device=device)
    if isinstance(batch, Mapping):
        return with_parts(batch, move)
    if _moves_itself(batch):
        # Copied first, because some (transformers' BatchFeature, PyG's Data) move themselves in place.
        return copy.copy(batch).to(device)
    return with_parts(batch, move) if is_structure(batch) else batch


def is_structure(batch: Any) -> bool:
    """Return whether `batch` is a container that is gone through."""
    if isinstance(batch, Mapping):
        return True
    if _moves_itself(batch):
        return False
    return isinstance(batch, list | tuple) or (dataclasses.is_dataclass(batch) and not isinstance(batch, type))


def parts_of(batch: Any) -> list[Any]:
    """Return what a structure holds."""
    if isinstance(batch, Mapping):
        return list(batch.values())
    if isinstance(batch, list | tuple):
        return list(batch)
    return [getattr(batch, field.name) for field in dataclasses.fields(batch)]


def with_parts(batch: Any, convert: Callable[[Any], Any]) -> Any:
    """Return a copy of a structure, of the same type, with each of its parts converted."""
    if isinstance(batch, Mapping):
        return _mapping(batch, convert)
    if isinstance(batch, list | tuple):
        converted = [convert(item) for item in batch]
        return type(batch)(*converted) if hasattr(batch, "_fields") else type(batch)(converted)
    return _dataclass(batch, convert)


def _moves_itself(batch: Any) -> bool:
    return callable(getattr(batch, "to", None)) and not isinstance(batch, type)


def _mapping(batch: Mapping[Any, Any], convert: Callable[[Any], Any]) -> Mapping[Any, Any]:
    converted = {key: convert(value) for key, value in batch.items()}
    if not isinstance(batch, MutableMapping) or type(batch) is dict:
        return converted
    clone = copy.copy(batch)  # keeps what a subclass adds, such as the factory of a defaultdict
    for key, value in converted.items():
        clone[key] = value
    return clone


def _dataclass(batch: Any, convert: Callable[[Any], Any]) -> Any:
    clone = copy.copy(batch)
    for field in dataclasses.fields(batch):
        # Set past __setattr__ and __init__: a frozen dataclass may be copied, and checks have been made already.
        object.__setattr__(clone, field.name, convert(getattr(batch, field.name)))
    return clone
