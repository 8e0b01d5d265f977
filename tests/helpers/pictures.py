"""What objects of torch are, down to the last bit, in plain data that can be compared."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def picture(value: Any, seen: set[int]) -> Any:
    """Everything about a value that must not change, written down independently of how lrfinder keeps it."""
    if isinstance(value, torch.Tensor):
        return ("seen", id(value)) if id(value) in seen else picture_of_tensor(value, seen)
    if isinstance(value, nn.Module | torch.optim.Optimizer):
        return (id(value), type(value), () if id(value) in seen else picture_of_attributes(value, seen))
    if isinstance(value, dict):
        return (id(value), [(picture(k, seen), picture(v, seen)) for k, v in value.items()])
    if isinstance(value, list | tuple):
        return (id(value), [picture(item, seen) for item in value])
    if isinstance(value, torch.Generator):
        return (id(value), bits(value.get_state()))
    return value if isinstance(value, int | float | str) else id(value)


def picture_of_tensor(value: torch.Tensor, seen: set[int]) -> Any:
    seen.add(id(value))
    grad = value.grad if value.is_leaf else None
    return (
        id(value),
        value.dtype,
        value.device,
        tuple(value.shape),
        None if value.is_sparse else (value.stride(), value.data_ptr()),
        value.requires_grad,
        value.is_leaf,
        bits(value),
        None if grad is None else picture(grad, seen),
        list(getattr(value, "_post_accumulate_grad_hooks", None) or {}),
    )


def picture_of_attributes(value: Any, seen: set[int]) -> Any:
    seen.add(id(value))
    return picture(vars(value), seen)


def bits(tensor: torch.Tensor) -> Any:
    """Return the bytes of a tensor."""
    tensor = tensor.detach()
    if tensor.is_sparse:
        return (bits(tensor._indices()), bits(tensor._values()))
    return tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
