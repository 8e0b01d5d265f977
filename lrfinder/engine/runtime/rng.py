"""Seed the random number generators of the process and of a loader, and put them back as they were."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

_Restore = Callable[[], object]


def derived_seed(seed: int, index: int) -> int:
    """Return a seed from 0 to 2**32 - 1 that depends on `seed` and `index` alone.

    NumPy's SeedSequence mixes both, so neighbouring seeds and indices give unrelated numbers.
    """
    return int(np.random.SeedSequence([seed, index]).generate_state(1)[0])


def seed_everything(seed: int, device: torch.device) -> None:
    """Seed the generators of Python, NumPy and torch, and those of an accelerator if it is in use.

    `torch.manual_seed` would also keep a seed for CUDA, if the user starts it after the sweep.
    """
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the global generator is what data sets and transforms draw from
    torch.default_generator.manual_seed(seed)
    if _cuda_in_use(device):
        torch.cuda.manual_seed_all(seed)
    if device.type == "mps":
        torch.mps.manual_seed(seed)


def remember_global_state(device: torch.device) -> _Restore:
    """Return a function that puts Python's, NumPy's, torch's and every accelerator's generator back as they are now."""
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    cuda = torch.cuda.get_rng_state_all() if _cuda_in_use(device) else []
    mps = torch.mps.get_rng_state() if device.type == "mps" else None

    def restore() -> None:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        torch.set_rng_state(cpu)
        for index, state in enumerate(cuda):
            torch.cuda.set_rng_state(state, index)
        if mps is not None:
            torch.mps.set_rng_state(mps)

    return restore


def _cuda_in_use(device: torch.device) -> bool:
    # Reading the state would start CUDA, which takes seconds and memory; before that nobody has drawn from it.
    return device.type == "cuda" or torch.cuda.is_initialized()  # type: ignore[no-untyped-call]


def is_generator(value: object) -> bool:
    """Return whether `value` is a random number generator of torch, NumPy or Python, with a state that can be kept."""
    kinds = torch.Generator | np.random.Generator | np.random.RandomState | random.Random
    return isinstance(value, kinds) and not isinstance(value, random.SystemRandom)


def remember_generator(generator: Any) -> _Restore:
    """Return a function that gives `generator` the state back that it has now."""
    if isinstance(generator, np.random.Generator):
        bits = generator.bit_generator
        return partial(setattr, bits, "state", bits.state)
    if isinstance(generator, torch.Generator | np.random.RandomState):
        return partial(generator.set_state, generator.get_state())  # type: ignore[arg-type]
    return partial(generator.setstate, generator.getstate())


def seed_generator(generator: Any, seed: int) -> None:
    """Seed one generator of torch, NumPy or Python."""
    if isinstance(generator, torch.Generator):
        generator.manual_seed(seed)
    elif isinstance(generator, np.random.Generator):
        generator.bit_generator.state = type(generator.bit_generator)(seed).state
    else:
        generator.seed(seed)


def loader_parts(loader: Any) -> list[Any]:
    """Return the objects of a loader that may draw random numbers: itself, its samplers, its data set.

    Also data sets inside that data set, and objects that are called for samples or batches, such as a transform.
    """
    if inspect.isclass(loader):
        return []
    pending: list[Any] = []
    for each in (loader, *getattr(loader, "flattened", ())):  # the loaders that a CombinedLoader holds
        batch_sampler = getattr(each, "batch_sampler", None)
        pending += [
            each,
            getattr(each, "sampler", None),
            batch_sampler,
            getattr(batch_sampler, "sampler", None),
            getattr(each, "dataset", None),
        ]
    parts: dict[int, Any] = {}
    while pending:
        part = pending.pop(0)
        if id(part) not in parts and isinstance(getattr(part, "__dict__", None), dict):
            parts[id(part)] = part
            pending += [inner for value in vars(part).values() for inner in _parts_in(value)]
    return list(parts.values())


def _parts_in(value: Any) -> list[Any]:
    if isinstance(value, dict | list | tuple):  # of ConcatDataset, StackDataset; not a list of all samples
        values = list(value.values()) if isinstance(value, dict) else value
        return [item for item in values if isinstance(item, Dataset)] if _begins_with_data_set(values) else []
    called = callable(value) and not inspect.isroutine(value) and not inspect.isclass(value)
    return [value] if called or isinstance(value, Dataset | Sampler) else []


def _begins_with_data_set(values: Any) -> bool:
    return len(values) > 0 and isinstance(values[0], Dataset)


def seed_loader(loader: Any, seed: int) -> None:
    """Seed the generators that `loader`, its samplers and its data set carry, each differently.

    Without it a loader with its own generator would give every repeat the same batches.
    """
    found = {id(value): value for part in loader_parts(loader) for value in vars(part).values() if is_generator(value)}
    for index, generator in enumerate(found.values()):
        seed_generator(generator, derived_seed(seed, index))
