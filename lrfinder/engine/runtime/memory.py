"""Memory that a failed attempt leaves behind."""

from __future__ import annotations

import gc

import torch


def free_memory(device: torch.device) -> None:
    """Free what nothing refers to any more; call it where no exception is being handled: its frames hold tensors."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    if device.type == "mps":
        torch.mps.empty_cache()
