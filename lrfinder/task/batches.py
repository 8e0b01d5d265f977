"""Move a batch, however it is nested, to a device."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, MutableMapping
from typing import Any

import torch


def to_device(batch: Any, device: torch.device) -> Any:
    """Return `batch` with every tensor in it on `device`, the structure and the types of containers kept.

    Tuples, lists, named tuples, mappings (a tokenizer's BatchEncoding among them) and dataclasses are gone through,
    objects with a `.to(device)` of their own are asked, anything else is left as it is. Pinned memory is copied without
    waiting. The batch that came in is never changed: a loader may hand out the same object again.
    """
    if isinstance(batch, torch.Tensor):
        # `is_pinned` asks the CUDA driver, so it is asked only where there is one.
        return batch.to(device, non_blocking=device.type == "cuda" and batch.is_pinned())
    if isinstance(batch, Mapping):
        return _mapping(batch, device)
    own_move = getattr(batch, "to", None)
    if callable(own_move) and not isinstance(batch, type):
        # Copied first, because some (transformers' BatchFeature, PyG's Data) move themselves in place.
        return copy.copy(batch).to(device)
    if isinstance(batch, list | tuple):
        moved = [to_device(item, device) for item in batch]
        return type(batch)(*moved) if hasattr(batch, "_fields") else type(batch)(moved)
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        return _dataclass(batch, device)
    return batch


def _mapping(batch: Mapping[Any, Any], device: torch.device) -> Mapping[Any, Any]:
    moved = {key: to_device(value, device) for key, value in batch.items()}
    if not isinstance(batch, MutableMapping) or type(batch) is dict:
        return moved
    clone = copy.copy(batch)  # keeps what a subclass adds, such as the factory of a defaultdict
    for key, value in moved.items():
        clone[key] = value
    return clone


def _dataclass(batch: Any, device: torch.device) -> Any:
    clone = copy.copy(batch)
    for field in dataclasses.fields(batch):
        # Set past __setattr__ and __init__: a frozen dataclass may be copied, and checks have been made already.
        object.__setattr__(clone, field.name, to_device(getattr(batch, field.name), device))
    return clone
