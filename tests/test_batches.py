"""Growing batches with a real DataLoader: noise scale, samples, rates, resuming."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, RandomSampler, SequentialSampler, TensorDataset

import lrfinder
from lrfinder.batches import BatchSchedule, grow_batches
from lrfinder.errors import UsageError
from lrfinder.schedules import Constant, Cosine, Linear, Schedule, Step
from shapes import schedules

DATA = TensorDataset(torch.arange(1000, dtype=torch.float32)[:, None])


def batches(schedule: Schedule, *, batch_size: int = 20, cap: int | None = None, seed: int = 0) -> BatchSchedule:
    order = RandomSampler(DATA, generator=torch.Generator().manual_seed(seed))
    return BatchSchedule(order, schedule, batch_size=batch_size, cap=cap)


def test_halving_the_rate_becomes_doubling_the_batch() -> None:
    """50 updates an epoch: the drop every two epochs becomes a batch twice as large, at the full rate."""
    plan = grow_batches(Step(steps=300, every=100, factor=0.5), samples=1000, batch_size=20)
    assert [epoch.batch_size for epoch in plan] == [20, 20, 40, 40, 80, 80]
    assert [epoch.factor for epoch in plan] == [1.0] * 6
    assert [epoch.updates for epoch in plan] == [50, 50, 25, 25, 13, 13]


def test_from_the_cap_on_the_rate_decays() -> None:
    plan = grow_batches(Step(steps=400, every=100, factor=0.2), samples=1000, batch_size=20, cap=100)
    assert [epoch.batch_size for epoch in plan] == [20, 20, 100, 100, 100, 100, 100, 100]
    assert [epoch.factor for epoch in plan] == pytest.approx([1, 1, 1, 1, 0.2, 0.2, 0.04, 0.04])


@given(schedules(1000), st.integers(1, 2000), st.data())
def test_rate_over_batch_size_is_the_schedules_in_every_epoch(schedule: Schedule, samples: int, data) -> None:
    size = data.draw(st.integers(1, samples))
    cap = data.draw(st.integers(size, samples))
    plan = grow_batches(schedule, samples=samples, batch_size=size, cap=cap)
    per_epoch = math.ceil(samples / size)
    assert len(plan) == math.ceil(schedule.steps / per_epoch)
    for e, epoch in enumerate(plan):
        assert epoch.factor / epoch.batch_size == pytest.approx(schedule.factor(e * per_epoch) / size, rel=1e-9)
        assert size <= epoch.batch_size <= cap
        assert epoch.updates == math.ceil(samples / epoch.batch_size)
    assert sum(epoch.updates for epoch in plan) <= len(plan) * per_epoch


def test_a_real_loader_gives_every_sample_once_an_epoch_in_growing_batches() -> None:
    sampler = batches(Step(steps=300, every=100, factor=0.5))
    loader = DataLoader(DATA, batch_sampler=sampler)
    for size in (20, 20, 40, 40, 80, 80, 80):  # the last one is past the plan
        assert len(loader) == math.ceil(1000 / size)
        seen = [batch for (batch,) in loader]
        assert [len(batch) for batch in seen[:-1]] == [size] * (len(seen) - 1)
        assert torch.cat(seen).flatten().sort().values.tolist() == list(range(1000))


def test_training_uses_the_rates_of_the_plan() -> None:
    sampler = batches(Cosine(steps=300), cap=100)
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-9)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, sampler.factor)
    used: list[tuple[int, float]] = []
    for _ in range(len(sampler.epochs)):
        for (x,) in DataLoader(DATA, batch_sampler=sampler):
            used.append((len(x), optimizer.param_groups[0]["lr"] / 1e-9))
            model(x).mean().backward()
            optimizer.step()
            scheduler.step()
    assert len(used) == sampler.updates < 300
    expected = [(epoch.batch_size, epoch.factor) for epoch in sampler.epochs for _ in range(epoch.updates)]
    assert [factor for _, factor in used] == pytest.approx([factor for _, factor in expected])
    assert sampler.factor(10**9) == sampler.epochs[-1].factor


def test_a_resumed_run_goes_on_where_it_was() -> None:
    whole = BatchSchedule(SequentialSampler(DATA), Linear(steps=300), batch_size=20)
    passes = [list(whole) for _ in range(6)]
    first = BatchSchedule(SequentialSampler(DATA), Linear(steps=300), batch_size=20)
    for _ in range(3):
        list(first)
    resumed = BatchSchedule(SequentialSampler(DATA), Linear(steps=300), batch_size=20)
    resumed.load_state_dict(first.state_dict())
    assert [list(resumed) for _ in range(3)] == passes[3:]


def test_the_warmup_is_left_as_it_is() -> None:
    plan = grow_batches(Linear(steps=300, warmup=100), samples=1000, batch_size=20)
    assert [epoch.batch_size for epoch in plan[:3]] == [20, 20, 20]
    assert [epoch.factor for epoch in plan[:2]] == pytest.approx([0.01, 0.51])


@pytest.mark.parametrize(("size", "cap"), [(0, None), (1001, None), (20, 10), (20, 2000)])
def test_sizes_that_cannot_be_meant(size: int, cap: int | None) -> None:
    with pytest.raises(UsageError, match="must be from"):
        grow_batches(Constant(steps=10), samples=1000, batch_size=size, cap=cap)


def test_a_sampler_without_a_length_is_refused() -> None:
    with pytest.raises(UsageError, match="with a length"):
        lrfinder.BatchSchedule(iter(range(5)), Constant(steps=5), batch_size=1)
