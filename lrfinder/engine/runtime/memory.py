"""How much memory was needed, and memory that a failed attempt leaves behind."""

from __future__ import annotations

import gc
import sys

import torch


def free_memory(device: torch.device) -> None:
    """Free memory that nothing refers to. Call it when no exception is being handled: its frames hold tensors."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    if device.type == "mps":
        torch.mps.empty_cache()


def most_memory(device: torch.device) -> int:
    """Return the most bytes that torch has held on a CUDA device so far; else the most that this process has had."""
    return torch.cuda.max_memory_reserved(device) if device.type == "cuda" else peak_memory()


def device_memory(device: torch.device) -> tuple[int, int] | None:
    """Return the memory of a CUDA device or of the machine, and what of it is free, in bytes; None of other devices."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return total, free
    if device.type != "cpu":
        return None
    import psutil

    memory = psutil.virtual_memory()
    return memory.total, memory.available


def peak_memory() -> int:
    """Return the most memory that this process has had, in bytes."""
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss: bytes there, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
