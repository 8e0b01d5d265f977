"""Random number generators: seeded, and put back."""

from __future__ import annotations

import random

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from helpers.problems import CPU
from lrfinder.engine.runtime.rng import (
    derived_seed,
    is_generator,
    remember_global_state,
    seed_everything,
    seed_loader,
)


@given(st.integers(0, 2**32 - 1), st.integers(0, 1000))
def test_derived_seeds_fit_numpy_and_differ(seed, index):
    one, other = derived_seed(seed, index), derived_seed(seed, index + 1)
    assert 0 <= one < 2**32
    assert one != other
    assert one == derived_seed(seed, index)


def draws():
    return random.random(), np.random.random(), torch.rand(3).tolist()  # noqa: NPY002, S311


def test_seeding_sets_all_generators_and_restoring_puts_them_back():
    restore = remember_global_state(CPU)
    expected = draws()
    seed_everything(5, CPU)
    first = draws()
    seed_everything(5, CPU)
    assert draws() == first != expected
    restore()
    assert draws() == expected


def test_what_draws_from_the_system_has_no_state_that_could_be_kept():
    assert is_generator(random.Random(5))  # noqa: S311
    assert not is_generator(random.SystemRandom())


def test_seeding_leaves_nothing_waiting_for_cuda(monkeypatch):
    waiting = []
    monkeypatch.setattr(torch.cuda, "_lazy_call", lambda call, **options: waiting.append(call))
    monkeypatch.setattr(torch.cuda.random, "_lazy_call", lambda call, **options: waiting.append(call))
    torch.cuda.manual_seed_all(1)
    assert waiting  # what torch.manual_seed would do
    waiting.clear()
    seed_everything(1, CPU)
    assert waiting == []


def test_the_generators_of_a_loader_are_seeded_differently_from_each_other():
    class Noisy(list):
        def __init__(self, items):
            super().__init__(items)
            self.numpy, self.python = np.random.default_rng(), random.Random()  # noqa: S311

    loader = DataLoader(Noisy([1, 2]), generator=torch.Generator())

    def seeded(seed):
        seed_loader(loader, seed)
        return loader.generator.initial_seed(), loader.dataset.numpy.random(), loader.dataset.python.random()

    first = seeded(3)
    assert seeded(3) == first
    assert len({*first, *seeded(4)}) == 6
    seed_loader([1, 2], 3)  # nothing to seed
    seed_loader(DataLoader, 3)


def test_cuda_is_not_started_to_be_remembered_and_one_that_runs_comes_back(monkeypatch):
    """Starting CUDA takes seconds and hundreds of megabytes; what runs has a generator on each card."""
    there, asked = {0: "first", 1: "second"}, []
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: asked.append(1) or list(there.values()))
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, index: there.update({index: state}))
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: there.update(dict.fromkeys(there, seed)))
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    restore = remember_global_state(CPU)
    seed_everything(3, CPU)
    restore()
    assert (asked, there) == ([], {0: "first", 1: "second"})
    for device, started in ((CPU, True), (torch.device("cuda"), False)):
        monkeypatch.setattr(torch.cuda, "is_initialized", lambda started=started: started)
        restore = remember_global_state(device)
        seed_everything(3, device)
        assert there == {0: 3, 1: 3}
        restore()
        assert there == {0: "first", 1: "second"}


def test_the_generator_of_an_apple_s_card_is_seeded_and_comes_back(monkeypatch):
    there = ["first"]
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda: there[0])
    monkeypatch.setattr(torch.mps, "set_rng_state", lambda state: there.__setitem__(0, state))
    monkeypatch.setattr(torch.mps, "manual_seed", lambda seed: there.__setitem__(0, seed))
    restore = remember_global_state(torch.device("mps"))
    seed_everything(3, torch.device("mps"))
    assert there == [3]
    restore()
    assert there == ["first"]
