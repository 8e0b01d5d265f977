"""A scheduler that notices other owners of its optimizer's rates, and an optimizer that the config isn't for."""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, SequentialLR

from lrfinder.config import OptimizerConfig, ScheduleConfig
from lrfinder.schedules import Constant, Cosine, Linear, Schedule


def config(schedule: Schedule, name: str = "SGD") -> ScheduleConfig:
    return ScheduleConfig(optimizer=OptimizerConfig(name=name, lr=0.1), schedule=schedule)


def optimizer_of(kind: type[torch.optim.Optimizer] = torch.optim.SGD, **keywords: Any) -> torch.optim.Optimizer:
    return kind([nn.Parameter(torch.ones(2))], lr=keywords.pop("lr", 0.5), **keywords)


def told(*steps: Any, updates: int, optimizer: torch.optim.Optimizer) -> list[str]:
    """Train, calling `steps` after each update; return what was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(updates):
            optimizer.step()
            for step in steps:
                step()
    return [str(it.message) for it in caught]


@pytest.mark.parametrize("order", ["first", "last"])
def test_a_second_scheduler_is_named_once(order: str) -> None:
    optimizer = optimizer_of()
    ours = config(Linear(steps=100)).scheduler(optimizer)
    other = CosineAnnealingLR(optimizer, T_max=50)
    steps = [other.step, ours.step] if order == "last" else [ours.step, other.step]
    (message,) = told(*steps, updates=60, optimizer=optimizer)
    assert message.startswith("at update ")
    assert "CosineAnnealingLR has this optimizer" in message


def test_one_that_begins_later_than_the_first_updates_is_not_looked_for() -> None:
    optimizer = optimizer_of()
    ours = config(Linear(steps=100)).scheduler(optimizer)
    assert told(ours.step, updates=20, optimizer=optimizer) == []
    optimizer.param_groups[0]["lr"] = 9.0
    assert told(ours.step, updates=1, optimizer=optimizer) == []
    assert optimizer.param_groups[0]["lr"] == 0.1 * (1 - 21 / 100)


def test_a_trainer_is_named_with_attributes_in_slots_or_in_a_dictionary() -> None:
    class PlainTrainer:
        def __init__(self, optimizer: torch.optim.Optimizer) -> None:
            self.optimizer = optimizer

        def after_update(self) -> None:
            self.optimizer.param_groups[0]["lr"] = 0.7

    class SlottedTrainer(PlainTrainer):
        __slots__ = ("more",)

    for kind in (PlainTrainer, SlottedTrainer):
        optimizer = optimizer_of()
        trainer = kind(optimizer)
        ours = config(Linear(steps=100)).scheduler(optimizer)
        (message,) = told(ours.step, trainer.after_update, updates=5, optimizer=optimizer)
        assert "at update 1 the rate of param group 0 is 0.7, but 0.099 by this schedule" in message
        assert f"{kind.__name__} has this optimizer" in message


def test_code_that_nobody_can_name() -> None:
    optimizer = optimizer_of()
    ours = config(Constant(steps=100)).scheduler(optimizer)
    optimizer.param_groups[0]["lr"] = 3.0
    (message,) = told(ours.step, updates=5, optimizer=optimizer)
    assert "something else sets it, too. Keep one" in message


def test_a_sequence_that_it_is_a_part_of_is_no_stranger() -> None:
    optimizer = optimizer_of(lr=0.1)
    before = LambdaLR(optimizer, lambda t: 0.5)
    ours = config(Linear(steps=100)).scheduler(optimizer)
    both = SequentialLR(optimizer, [before, ours], milestones=[3])
    assert [it for it in told(both.step, updates=20, optimizer=optimizer) if "something else" in it] == []
    optimizer.param_groups[0]["lr"] = 5.0
    ours._watched_until = 1000
    assert told(ours.step, updates=3, optimizer=optimizer) == []


@pytest.mark.parametrize("rate", [0.5, torch.tensor(0.5), torch.tensor(0.5, dtype=torch.float64)])
@pytest.mark.parametrize("schedule", [Linear(steps=9, warmup=3), Cosine(steps=30), Constant(steps=4)])
def test_alone_it_is_quiet_also_as_a_copy_and_after_a_resume(schedule: Schedule, rate: Any) -> None:
    """Warnings are errors here."""
    rate = copy.deepcopy(rate)
    made, optimizer = config(schedule, "Adam"), torch.optim.Adam([nn.Parameter(torch.ones(2))], lr=rate)
    scheduler = made.scheduler(optimizer)
    for _ in range(5):
        optimizer.step()
        scheduler.step()
    for twin in (copy.deepcopy(scheduler), pickle.loads(pickle.dumps(scheduler))):
        assert told(twin.step, updates=25, optimizer=twin.optimizer) == []
    again = torch.optim.Adam([nn.Parameter(torch.ones(2))], lr=copy.deepcopy(rate))
    resumed = made.scheduler(again)
    resumed.load_state_dict(scheduler.state_dict())
    again.load_state_dict(optimizer.state_dict())
    assert told(resumed.step, updates=25, optimizer=again) == []


def test_an_optimizer_s_state_of_another_run_is_noticed_after_a_resume() -> None:
    made, optimizer = config(Linear(steps=100)), optimizer_of()
    scheduler = made.scheduler(optimizer)
    told(scheduler.step, updates=40, optimizer=optimizer)
    scheduler.load_state_dict(scheduler.state_dict())
    optimizer.load_state_dict(optimizer_of(lr=0.9).state_dict())
    (message,) = told(scheduler.step, updates=5, optimizer=optimizer)
    assert "at update 40 the rate of param group 0 is 0.9" in message


class TestAnotherOptimizer:
    class MyAdamW(torch.optim.AdamW):
        pass

    class Wrapper(torch.optim.Optimizer):
        """As accelerate's AcceleratedOptimizer: an optimizer that has the real one."""

        def __init__(self, optimizer: torch.optim.Optimizer) -> None:
            super().__init__(optimizer.param_groups, {})
            self.optimizer = optimizer

    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("AdamW", torch.optim.AdamW),
            ("adamw", torch.optim.AdamW),
            ("torch.optim.AdamW", torch.optim.AdamW),
            ("AdamW", MyAdamW),
            ("my_package.MyAdamW", MyAdamW),
            ("SGD + AdamW", torch.optim.AdamW),
        ],
    )
    def test_the_config_s_own(self, name: str, kind: type[torch.optim.Optimizer]) -> None:
        config(Linear(steps=9), name).scheduler(optimizer_of(kind))
        config(Linear(steps=9), name).scheduler(self.Wrapper(optimizer_of(kind)))

    @pytest.mark.parametrize(
        ("name", "kind", "is_"),
        [
            ("SGD", torch.optim.AdamW, "AdamW"),
            ("Adam", torch.optim.AdamW, "AdamW"),  # which torch derives from its Adam
            ("AdamW", torch.optim.Adam, "Adam"),
            ("Adam", MyAdamW, "MyAdamW"),
        ],
    )
    def test_another_is_warned_of(self, name: str, kind: type[torch.optim.Optimizer], is_: str) -> None:
        with pytest.warns(UserWarning, match=f"rate is for {name}, and this optimizer is {is_}:") as caught:
            config(Linear(steps=9), name).scheduler(optimizer_of(kind))
        assert caught[0].filename == __file__
