"""A short digest of a batch, which tells whether two runs began on the same data."""

from __future__ import annotations

import hashlib
from typing import Any

import torch

from lrfinder.engine.data.subset import batch_tensors

_MOST = 2**20  # numbers of a tensor that count: a few milliseconds for the largest batch
_DIGITS = 16


def digest_of(batch: Any) -> str | None:
    """Return a digest of the tensors in `batch`: their types, shapes and first numbers; None if it has none."""
    found, any_tensor = hashlib.sha256(), False
    for tensor in batch_tensors(batch):
        any_tensor = True
        shape = "nested" if tensor.is_nested else tuple(tensor.shape)
        found.update(f"{tensor.dtype} {shape}".encode())
        if tensor.layout is torch.strided and not (tensor.is_nested or tensor.is_quantized or tensor.is_meta):
            numbers = tensor.detach().reshape(-1)[:_MOST].cpu().contiguous()
            found.update(numbers.view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:_DIGITS] if any_tensor else None
