"""Seeds: of the generators before the script starts, and of the script's own in another repeat."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from lrfinder.engine.runtime.rng import derived_seed

_SEEDS = 2**32  # NumPy's end there


def seed_start(seed: int, repeat: int, rank: int = 0) -> int:
    """Seed Python, NumPy and torch for scripts that set no seed, and return that seed.

    It is another one on each rank, since processes that nobody seeds draw differently. What the script seeds with is
    moved alike on all ranks: its weights and shards may hang on equal seeds.
    """
    shared = derived_seed(seed, repeat)
    own = derived_seed(shared, rank) if rank else shared
    random.seed(own)
    np.random.seed(own)  # noqa: NPY002 - the global generator is what scripts draw from
    torch.manual_seed(own)
    if repeat:
        _move_seeds(shared)
    return own


def _move_seeds(by: int) -> None:
    """From now on, move the whole numbers that the script seeds with: else each repeat would be the same again.

    In this process alone: workers derive theirs from this one's. A `torch.Generator` is compiled, and keeps its seed.
    """
    owner = os.getpid()
    places: tuple[tuple[Any, str], ...] = (
        (torch, "manual_seed"),
        (torch.random, "manual_seed"),
        (np.random, "seed"),
        (np.random, "default_rng"),
        (random, "seed"),
    )
    for place, name in places:
        setattr(place, name, _moved(getattr(place, name), by, owner))


def _moved(real: Callable[..., Any], by: int, owner: int) -> Callable[..., Any]:
    def seed(value: Any = None, *more: Any, **keywords: Any) -> Any:
        if isinstance(value, int) and os.getpid() == owner:
            value = (value + by) % _SEEDS
        return real(value, *more, **keywords)

    return seed
