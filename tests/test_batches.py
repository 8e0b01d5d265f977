"""Growing batches with a real DataLoader: noise scale, samples, rates, resuming."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler, RandomSampler, SequentialSampler, TensorDataset
from typer.testing import CliRunner

import lrfinder
from helpers.shapes import schedules
from lrfinder.batch_growth.plan import grow_batches
from lrfinder.batch_growth.sampler import BatchSchedule
from lrfinder.cli.schedule import app
from lrfinder.config import ScheduleConfig, format_schedule, load_schedule, parse_schedule
from lrfinder.errors import ConfigError, UsageError
from lrfinder.export import export_schedule
from lrfinder.schedules import Constant, Cosine, Linear, OneCycle, Plateau, Schedule, Step

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


@given(schedules(1000).filter(lambda it: not it.rises_itself and not it.reads_losses), st.integers(1, 2000), st.data())
def test_rate_over_batch_size_is_the_schedules_in_every_epoch(schedule: Schedule, samples: int, data) -> None:
    size = data.draw(st.integers(1, samples))
    cap = data.draw(st.integers(size, samples))
    plan = grow_batches(schedule, samples=samples, batch_size=size, cap=cap)
    per_epoch = math.ceil(samples / size)
    assert len(plan) == math.ceil(schedule.steps / per_epoch)
    for e, epoch in enumerate(plan):
        decayed = schedule.factor(max(e * per_epoch, schedule.warmup))
        assert epoch.factor / epoch.batch_size == pytest.approx(decayed / size, rel=1e-9)
        assert 0 <= epoch.factor <= 1
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


def test_the_warmup_stays_update_by_update() -> None:
    """50 updates an epoch, and a warm-up that ends within the second: growth begins with the third."""
    growing = batches(Step(steps=300, warmup=70, every=30, factor=0.5))
    assert [epoch.batch_size for epoch in growing.epochs[:3]] == [20, 20, 40]
    assert [growing.factor(t) for t in range(110)] == [min((t + 1) / 70, 1.0) for t in range(110)]


@pytest.mark.parametrize(
    ("schedule", "why"), [(OneCycle(steps=9), "rise of its own"), (Plateau(steps=9), "losses cut")]
)
def test_what_the_batch_cannot_stand_in_for(schedule: Schedule, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        grow_batches(schedule, samples=1000, batch_size=20)


class TestConfig:
    """The plan as a file: `lrfinder schedule batches`, and what a training script loads."""

    TEXT = "version: 1\noptimizer: {name: SGD, lr: 0.1}\nschedule: {name: step, steps: 400, every: 100, factor: 0.2}\n"

    def config(self, **sizes: Any) -> ScheduleConfig:
        before = parse_schedule(self.TEXT, suffix=".yaml", where="it.yaml")
        return before.with_batches(**{"samples": 1000, "batch_size": 20, "cap": 100, **sizes})

    def test_it_says_the_size_of_every_epoch_in_every_format(self) -> None:
        for suffix in (".yaml", ".json", ".toml"):
            text = format_schedule(self.config(), suffix=suffix)
            loaded = parse_schedule(text, suffix=suffix, where="it")
            assert loaded == self.config()
            assert loaded.batch.plan == ((2, 20), (6, 100))
            assert suffix == ".json" or ".batches(RandomSampler(data))" in text

    def test_a_run_sees_every_sample_once_an_epoch_at_the_rates_that_are_left(self) -> None:
        config = self.config()
        weight = nn.Parameter(torch.zeros(1))
        optimizer = torch.optim.SGD([weight], lr=9.0)
        loader = DataLoader(DATA, batch_sampler=config.batches(RandomSampler(DATA)))
        scheduler = config.scheduler(optimizer)
        noise = []
        for _ in range(8):
            seen = 0
            for (batch,) in loader:
                noise.append(optimizer.param_groups[0]["lr"] / len(batch))
                seen += len(batch)
                optimizer.step()
                scheduler.step()
            assert seen == 1000
        assert len(noise) == config.steps == 50 + 50 + 6 * 10
        assert noise[:100] == pytest.approx([0.1 / 20] * 100)
        assert noise[100:120] == pytest.approx([0.1 / 20 / 5] * 20)  # grown
        assert noise[120:] == pytest.approx([0.1 / 20 / 25] * 20 + [0.1 / 20 / 125] * 20)  # then decayed
        assert list(config.lrs()) == pytest.approx([0.1] * 120 + [0.02] * 20 + [0.004] * 20)

    @pytest.mark.parametrize(
        ("batch", "complaint"),
        [
            (
                "{size: 20, samples: 1000, cap: 100, plan: [[3, 20], [5, 100]]}",
                "it.yaml:4:8: batch: plan doesn't follow",
            ),
            ("{size: 2000, samples: 1000}", "batch: batch_size must be from 1 to the 1000 samples, got 2000"),
            ("{size: 20, samples: 1000, cap: 10}", "batch: cap must be from batch_size"),
            ("{size: 20}", "batch.samples: missing"),
            ("{size: 20, samples: 1000, most: 10}", "batch.most: unknown key"),
        ],
    )
    def test_what_does_not_fit_is_named_with_its_place(self, batch: str, complaint: str) -> None:
        with pytest.raises(ConfigError) as caught:
            parse_schedule(f"{self.TEXT}batch: {batch}\n", suffix=".yaml", where="it.yaml")
        assert complaint in str(caught.value)

    def test_another_data_set_is_refused(self) -> None:
        with pytest.raises(UsageError, match="has 10 samples, but the config's batches are planned for 1000"):
            self.config().batches(SequentialSampler(range(10)))

    def test_a_config_without_the_section_says_so(self) -> None:
        config = parse_schedule(self.TEXT, suffix=".yaml", where="it.yaml")
        with pytest.raises(UsageError, match="no batch section"):
            config.batches(RandomSampler(DATA))

    def test_it_is_no_export(self) -> None:
        with pytest.raises(UsageError, match="a growing batch is no schedule of rates"):
            export_schedule(self.config(), "csv")

    def test_the_command_plans_and_writes(self, tmp_path: Path) -> None:
        (tmp_path / "step.yaml").write_text(self.TEXT)
        out = tmp_path / "growing.yaml"
        words = ["batches", str(tmp_path / "step.yaml"), "--samples", "1000", "--batch-size", "20", "--cap", "100"]
        done = CliRunner().invoke(app, [*words, "--write", str(out)], catch_exceptions=False)
        assert "160 updates instead of 400" in done.stdout
        assert load_schedule(out) == self.config()
        document = json.loads(CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False).stdout)
        assert [epoch["batch_size"] for epoch in document["epochs"]] == [20, 20, 100, 100, 100, 100, 100, 100]


@pytest.mark.parametrize(("size", "cap"), [(0, None), (1001, None), (20, 10), (20, 2000)])
def test_sizes_that_cannot_be_meant(size: int, cap: int | None) -> None:
    with pytest.raises(UsageError, match="must be from"):
        grow_batches(Constant(steps=10), samples=1000, batch_size=size, cap=cap)


@pytest.mark.parametrize("size", [20.5, "20", True])
@pytest.mark.parametrize("name", ["samples", "batch_size", "cap"])
def test_sizes_are_whole_numbers(name: str, size: Any) -> None:
    with pytest.raises(UsageError, match=f"^{name} must be a whole number, got"):
        TestConfig().config(**{name: size})


@pytest.mark.parametrize("kind", [float, np.int64, np.float32, torch.tensor])
def test_sizes_of_any_kind_that_are_whole_make_the_same_config(kind: Any) -> None:
    plain = {"samples": 1000, "batch_size": 20, "cap": 100}
    written = TestConfig().config(**{name: kind(size) for name, size in plain.items()})
    assert format_schedule(written, suffix=".json") == format_schedule(TestConfig().config(**plain), suffix=".json")


def test_a_sampler_without_a_length_is_refused() -> None:
    with pytest.raises(UsageError, match="with a length"):
        lrfinder.BatchSchedule(iter(range(5)), Constant(steps=5), batch_size=1)


@pytest.mark.parametrize(("epoch", "live"), [(0, False), (0, True), (4, True)])
def test_a_sweep_holds_the_batch_size(epoch: int, live: bool) -> None:
    order = DistributedSampler(DATA, num_replicas=1, rank=0)  # an order for each epoch
    sampler = BatchSchedule(order, Linear(steps=300), batch_size=20)
    sampler.set_epoch(epoch)
    size = sampler.epochs[epoch].batch_size
    before, seen = sampler.state_dict(), []

    def step(model: nn.Module, batch: list[torch.Tensor]) -> torch.Tensor:
        seen.append(batch[0].flatten().tolist())
        return (model(batch[0] / 1000) - 1).square().mean()

    loader = DataLoader(DATA, batch_sampler=sampler)
    result = lrfinder.sweep(
        model=lambda: nn.Linear(1, 1),
        train_loader=loader if live else lambda: loader,
        training_step=step,
        optimizer="SGD",
        max_lr=0.1,
        steps=60,
        repeats=2,
        mode="continuous",
        device="cpu",
    )
    assert [trace.updates for trace in result.traces] == [60, 60]
    assert {len(batch) for batch in seen} <= {size, 1000 % size}
    first_pass = slice(0, sampler.epochs[epoch].updates)
    assert seen[first_pass] != seen[61:][first_pass]  # the order of each repeat is its own
    assert result.setup.batches_per_epoch == sampler.epochs[epoch].updates
    assert sampler.state_dict() == before
    assert [len(list(sampler)) for _ in range(2)] == [it.updates for it in sampler.epochs[epoch : epoch + 2]]
