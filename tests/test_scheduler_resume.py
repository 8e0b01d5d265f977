"""Resuming: from any update, in any order of loading, the run goes on bit for bit."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lrfinder.config import OptimizerConfig, ScheduleConfig
from lrfinder.scheduler import ConfiguredScheduler
from lrfinder.schedules import SCHEDULES as SHAPES
from lrfinder.schedules import Cosine, Linear, Schedule, Step

STEPS = 12
SCHEDULES: list[Schedule] = [
    *(shape.for_run(steps=STEPS, warmup=2) for shape in SHAPES.values()),
    Linear(steps=STEPS, warmup=4),
    Cosine(steps=STEPS, warmup=1, final=0.05),
    Step(steps=STEPS, warmup=2, every=3, factor=0.3),
]


def config(schedule: Schedule, groups: tuple[float, ...] | None = None) -> ScheduleConfig:
    return ScheduleConfig(optimizer=OptimizerConfig(name="AdamW", lr=0.0317, groups=groups), schedule=schedule)


class Run:
    """A small real training run: a network, AdamW with two param groups, and the scheduler."""

    def __init__(self, made: ScheduleConfig, *, last_epoch: int = -1) -> None:
        torch.manual_seed(7)
        self.model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
        body, head = self.model[0], self.model[2]
        self.optimizer = torch.optim.AdamW(
            [{"params": body.parameters(), "lr": 0.013}, {"params": head.parameters(), "lr": 0.7}]
        )
        self.scheduler: ConfiguredScheduler = made.scheduler(self.optimizer, last_epoch)

    def train(self, begin: int, end: int) -> list[tuple[float, ...]]:
        used = []
        for t in range(begin, end):
            used.append(tuple(group["lr"] for group in self.optimizer.param_groups))
            inputs = torch.linspace(-1, 1, 15).reshape(5, 3) * (t + 1)
            self.optimizer.zero_grad()
            self.model(inputs).square().mean().backward()
            self.optimizer.step()
            self.scheduler.step()
        return used

    def weights(self) -> list[list[float]]:
        return [parameter.flatten().tolist() for parameter in self.model.parameters()]


def on_disk(states: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(states, file)
    file.seek(0)
    loaded: dict[str, Any] = torch.load(file, weights_only=True)
    return loaded


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s.name)
@pytest.mark.parametrize("order", ["optimizer first", "scheduler first"])
def test_resume_at_every_update(schedule: Schedule, order: str) -> None:
    made = config(schedule)
    whole = Run(made)
    used = whole.train(0, STEPS + 2)
    parts = ["optimizer", "scheduler"] if order == "optimizer first" else ["scheduler", "optimizer"]
    for stop in range(STEPS + 2):
        first = Run(made)
        assert first.train(0, stop) == used[:stop], stop
        saved = on_disk({part: getattr(first, part).state_dict() for part in ("model", *parts)})
        second = Run(made)
        second.model.load_state_dict(saved["model"])
        for part in parts:
            getattr(second, part).load_state_dict(saved[part])
        assert second.train(stop, STEPS + 2) == used[stop:], stop
        assert second.weights() == whole.weights(), stop


@pytest.mark.parametrize("stop", range(STEPS + 2))
def test_the_schedulers_state_alone_sets_the_rates_at_once(stop: int) -> None:
    made = config(SCHEDULES[0])
    whole, first, second = Run(made), Run(made), Run(made)
    used = whole.train(0, STEPS + 2)
    first.train(0, stop)
    second.scheduler.load_state_dict(first.scheduler.state_dict())
    assert second.scheduler.get_last_lr() == [group["lr"] for group in second.optimizer.param_groups]
    assert second.train(stop, STEPS + 2) == used[stop:]


@pytest.mark.parametrize("stop", range(1, STEPS + 2))
@pytest.mark.parametrize("load_optimizer", [True, False])
def test_resume_by_last_epoch(stop: int, load_optimizer: bool) -> None:
    made = config(SCHEDULES[0])
    whole, first = Run(made), Run(made)
    used = whole.train(0, STEPS + 2)
    first.train(0, stop)
    second = Run(made, last_epoch=stop - 1)
    if load_optimizer:  # as torch asks for it: the optimizer's state holds `initial_lr`, the scheduler is made then
        second.optimizer.load_state_dict(first.optimizer.state_dict())
        second.scheduler = made.scheduler(second.optimizer, stop - 1)
    assert second.train(stop, STEPS + 2) == used[stop:]


def test_made_on_an_optimizer_that_was_loaded_at_rate_zero() -> None:
    made = config(Linear(steps=4))
    first = Run(made)
    first.train(0, 4)
    assert [group["lr"] for group in first.optimizer.param_groups] == [0.0, 0.0]
    second = Run(made)
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    again = made.scheduler(second.optimizer)  # the ratio is not lost with the rate
    assert again.get_last_lr() == [group["initial_lr"] for group in first.optimizer.param_groups]


def test_a_longer_schedule_goes_on_from_the_saved_position_and_says_so() -> None:
    short, long = config(Linear(steps=6)), config(Linear(steps=12))
    first = Run(short)
    first.train(0, 3)
    second = Run(long)
    with pytest.warns(UserWarning, match="of another schedule .* update 3 of this one"):
        second.scheduler.load_state_dict(first.scheduler.state_dict())
    assert second.optimizer.param_groups[1]["lr"] == long.rate(3)


@settings(max_examples=30, deadline=None)
@given(
    steps=st.integers(1, 40),
    share=st.floats(0, 1),
    stop=st.integers(0, 45),
    ratios=st.lists(st.floats(0, 10), min_size=1, max_size=4).filter(any),
)
def test_a_state_says_everything(steps: int, share: float, stop: int, ratios: list[float]) -> None:
    made = config(Linear(steps=steps, warmup=int(share * steps), final=share), tuple(ratios))

    def fresh() -> tuple[torch.optim.Optimizer, ConfiguredScheduler]:
        optimizer = torch.optim.AdamW([{"params": [nn.Parameter(torch.zeros(1))]} for _ in ratios], lr=0.1)
        return optimizer, made.scheduler(optimizer)

    optimizer, scheduler = fresh()
    for _ in range(stop):
        optimizer.step()
        scheduler.step()
    assert [group["lr"] for group in optimizer.param_groups] == [
        made.optimizer.lr * ratio * made.schedule.factor(stop) for ratio in ratios
    ]
    other, resumed = fresh()
    resumed.load_state_dict(on_disk(scheduler.state_dict()))
    assert other.param_groups[-1]["lr"] == optimizer.param_groups[-1]["lr"]
    assert resumed.state_dict() == scheduler.state_dict()
