"""Visit every part of a batch, however deeply it is nested, and move the batch to a device."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, MutableMapping
from functools import partial
from typing import Any

import torch


def to_device(batch: Any, device: torch.device) -> Any:  # noqa: PLR0911 - one for each kind
    """Return a batch like `batch` whose tensors are all on `device`; containers keep their types and their structure.

    The function looks inside tuples, lists, named tuples, mappings (including a tokenizer's BatchEncoding) and
    dataclasses. It calls `.to(device)` of objects that have this method, and leaves everything else as it is. It
    doesn't wait until a copy to CUDA is finished. It never changes `batch` itself, because a loader may return the
    same object again.
    """
    kind = type(batch)
    if kind is list or kind is tuple:  # most batches; checked first, without isinstance (10 times slower)
        for item in batch:
            if type(item) is not torch.Tensor or item.device != device:
                return kind([to_device(item, device) for item in batch])
        return kind(batch)  # nothing to move, as always on a CPU: saves a call for each item
    if isinstance(batch, torch.Tensor):
        if batch.device == device:  # `to` makes the same check, but takes five times as long
            return batch
        # A copy to CUDA needs no waiting: the driver has buffered a tensor that isn't pinned before `to` returns.
        return batch.to(device, non_blocking=device.type == "cuda")
    move = partial(to_device, device=device)
    if isinstance(batch, Mapping):
        return with_parts(batch, move)
    if _moves_itself(batch):
        # Copy first: some classes (transformers' BatchFeature, PyG's Data) move the object itself.
        clone = copy.copy(batch)
        moved = clone.to(device)
        return clone if moved is None else moved  # None: as Lightning, take it that `return self` was forgotten
    return with_parts(batch, move) if is_structure(batch) else batch


def is_structure(batch: Any) -> bool:
    """Return whether `batch` is a container whose parts are handled one by one: see `to_device` for the kinds."""
    if isinstance(batch, Mapping):
        return True
    if _moves_itself(batch):
        return False
    return isinstance(batch, list | tuple) or (dataclasses.is_dataclass(batch) and not isinstance(batch, type))


def parts_of(batch: Any) -> list[Any]:
    """Return the parts of a container: its items, its values, or the fields of a dataclass."""
    if isinstance(batch, Mapping):
        return list(batch.values())
    if isinstance(batch, list | tuple):
        return list(batch)
    return [getattr(batch, field.name) for field in dataclasses.fields(batch)]


def with_parts(batch: Any, convert: Callable[[Any], Any]) -> Any:
    """Return a copy of a container with `convert(part)` in place of each part; an immutable mapping becomes a dict."""
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
    clone = copy.copy(batch)  # keeps what a subclass adds, such as the default_factory of a defaultdict
    for key, value in converted.items():
        clone[key] = value
    return clone


def _dataclass(batch: Any, convert: Callable[[Any], Any]) -> Any:
    clone = copy.copy(batch)
    for field in dataclasses.fields(batch):
        # Avoids __setattr__, which a frozen dataclass refuses, and __init__, whose checks have already run.
        object.__setattr__(clone, field.name, convert(getattr(batch, field.name)))
    return clone
