"""Tensors that are divided over processes (torch's DTensor), known without an import of torch's package for them.

That package takes a second to import, and hardly any model is divided.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn


def fsdp_modules(roots: Iterable[Any]) -> list[Any]:
    """Return the modules among and in `roots` that `fully_shard` was called on."""
    fsdp = sys.modules.get("torch.distributed.fsdp")
    if fsdp is None:  # then nobody has called it
        return []
    return [
        module
        for root in roots
        if isinstance(root, nn.Module)
        for module in root.modules()
        if isinstance(module, fsdp.FSDPModule)
    ]


def local_part(tensor: torch.Tensor) -> torch.Tensor:
    """Return what this process holds of a tensor that is divided over several, in the same memory; else the tensor."""
    part: torch.Tensor = tensor.data.to_local() if is_divided(tensor) else tensor  # type: ignore[attr-defined]
    return part


def is_divided(tensor: torch.Tensor) -> bool:
    """Return whether `tensor` is divided over several processes."""
    return hasattr(tensor, "to_local")


def is_divided_model(model: nn.Module) -> bool:
    """Return whether any weight of `model` is divided over several processes."""
    return any(map(is_divided, model.parameters()))
