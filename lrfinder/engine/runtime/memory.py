"""Memory that a failed attempt leaves behind."""

from __future__ import annotations

import gc

import torch


def free_memory(device: torch.device) -> None:
    """Free memory that nothing refers to. Call it when no exception is being handled: its frames hold tensors."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    if device.type == "mps":
        torch.mps.empty_cache()
