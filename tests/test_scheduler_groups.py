"""Param groups that change under a scheduler: groups added in mid-training, and rates that come to share a tensor."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from lrfinder.config import OptimizerConfig, ScheduleConfig
from lrfinder.errors import UsageError
from lrfinder.schedules import Cosine, Linear, Plateau, Schedule


def config(schedule: Schedule, groups: tuple[float, ...] | None = None, lr: float = 0.1) -> ScheduleConfig:
    return ScheduleConfig(optimizer=OptimizerConfig(name="SGD", lr=lr, groups=groups), schedule=schedule)


def weight() -> nn.Parameter:
    made = nn.Parameter(torch.ones(2))
    made.grad = torch.ones(2)
    return made


def optimizer_of(groups: int = 1, **keywords: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD([{"params": [weight()]} for _ in range(groups)], **{"lr": 3.0, **keywords})


def rates(optimizer: torch.optim.Optimizer) -> list[float]:
    return [float(group["lr"]) for group in optimizer.param_groups]


def advanced(optimizer: torch.optim.Optimizer, scheduler: Any, updates: int) -> None:
    for _ in range(updates):
        optimizer.step()
        scheduler.step()


class TestGroupsAddedLater:
    def test_the_refusal_changes_nothing_and_its_hint_continues_the_run(self) -> None:
        made = config(Cosine(steps=50))
        optimizer = optimizer_of(lr=0.1)
        scheduler = made.scheduler(optimizer)
        advanced(optimizer, scheduler, 10)
        optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))], "lr": 0.01})
        optimizer.step()
        with pytest.raises(UsageError, match="2 param groups, but had 1") as refused:
            scheduler.step()
        assert scheduler.last_epoch == 10
        assert "new.load_state_dict(old.state_dict()), then new.step()" in refused.value.hint
        new = made.scheduler(optimizer)
        new.load_state_dict(scheduler.state_dict())  # warnings are errors here: there is none
        new.step()
        assert rates(optimizer) == pytest.approx([made.rate(11), 0.1 * made.rate(11)])
        del optimizer.param_groups[1]  # the old one goes on too, if the group is taken away again
        with pytest.warns(UserWarning, match="ConfiguredScheduler has this optimizer"):
            scheduler.step()
        assert rates(optimizer) == [made.rate(11)]

    def test_a_plateau_keeps_its_cuts(self) -> None:
        made = config(Plateau(steps=50, patience=0, factor=0.5))
        optimizer = optimizer_of(lr=0.1)
        scheduler = made.scheduler(optimizer)
        optimizer.step()
        for _ in range(3):
            scheduler.observe(1.0)
        state = scheduler.state_dict()
        optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))], "lr": 0.01})
        for call in (scheduler.step, lambda: scheduler.observe(1.0)):
            with pytest.raises(UsageError, match="2 param groups, but had 1"):
                call()
        assert scheduler.state_dict() == state
        new = made.scheduler(optimizer)
        new.load_state_dict(scheduler.state_dict())
        new.step()
        assert rates(optimizer) == pytest.approx([0.025, 0.0025])

    @pytest.mark.parametrize("tensor", [False, True], ids=["number", "tensor"])
    @pytest.mark.parametrize("built_at", [1e-3, 2e-5])
    def test_the_old_groups_keep_their_rates_and_the_new_one_follows(self, built_at: float, tensor: bool) -> None:
        """As torch's LambdaLR goes on by itself, for the old groups; the optimizer's default is none of its rates."""

        def begun() -> tuple[torch.optim.Optimizer, ScheduleConfig]:
            lr = torch.tensor(built_at, dtype=torch.float64) if tensor else built_at
            parts = [{"params": [weight()]}, {"params": [weight()], "lr": built_at / 4}]
            return torch.optim.SGD(parts, lr=lr), config(Linear(steps=100, warmup=30), lr=2e-5)

        optimizer, made = begun()
        scheduler = made.scheduler(optimizer)
        advanced(optimizer, scheduler, 10)
        optimizer.add_param_group({"params": [weight()]})
        new = made.scheduler(optimizer)
        new.load_state_dict(scheduler.state_dict())  # warnings are errors here: there is none
        new.step()
        other = torch.optim.SGD([{"params": [weight()], "lr": lr} for lr in (2e-5, 5e-6, 2e-5)])
        torchs = torch.optim.lr_scheduler.LambdaLR(other, made.schedule.factor)
        advanced(other, torchs, 11)
        for _ in range(5):
            assert rates(optimizer) == pytest.approx(rates(other), rel=1e-12)
            advanced(optimizer, new, 1)
            advanced(other, torchs, 1)
        assert made.scheduler(optimizer).base_lrs == new.base_lrs  # however often it is made

    def test_a_rate_above_the_peak_is_refused_and_changes_nothing(self) -> None:
        made = config(Linear(steps=100), lr=2e-5)
        optimizer = optimizer_of(lr=1e-3)
        scheduler = made.scheduler(optimizer)
        advanced(optimizer, scheduler, 10)
        optimizer.add_param_group({"params": [weight()], "lr": 5e-4})
        with pytest.raises(
            UsageError, match=r"param group 1 was added at the rate 0\.0005, above the config's peak"
        ) as it:
            made.scheduler(optimizer)
        assert rates(optimizer) == [made.rate(10), 5e-4]
        assert "set its lr to its own peak, at most 2e-05" in it.value.hint
        optimizer.param_groups[1]["lr"] = 1e-5
        new = made.scheduler(optimizer)
        new.load_state_dict(scheduler.state_dict())
        assert rates(optimizer) == pytest.approx([made.rate(10), made.rate(10) / 2])

    def test_the_hint_is_right_for_a_config_that_lists_its_ratios(self) -> None:
        optimizer = optimizer_of(2)
        scheduler = config(Linear(steps=100), groups=(1.0, 0.1)).scheduler(optimizer)
        advanced(optimizer, scheduler, 10)
        optimizer.add_param_group({"params": [weight()]})
        optimizer.step()
        with pytest.raises(UsageError, match="3 param groups, but had 2") as refused:
            scheduler.step()
        assert refused.value.hint.startswith("write the ratio of each param group as `groups`")
        new = config(Linear(steps=100), groups=(1.0, 0.1, 0.5)).scheduler(optimizer)
        new.load_state_dict(scheduler.state_dict())
        new.step()
        assert rates(optimizer) == pytest.approx([0.1 * 0.89 * ratio for ratio in (1.0, 0.1, 0.5)])


class TestSharedTensors:
    @pytest.mark.as_pinned("torch")  # older ones' SGD takes no tensor of one dimension
    @pytest.mark.parametrize("views", [False, True], ids=["one tensor", "two views"])
    @pytest.mark.parametrize("done", [0, 1, 5])
    def test_groups_that_a_loaded_state_makes_share_get_one_each(self, done: int, views: bool) -> None:
        made = config(Linear(steps=100, warmup=30), groups=(1.0, 0.1))
        optimizer = optimizer_of(2, lr=torch.tensor(1.0, dtype=torch.float64))
        scheduler = made.scheduler(optimizer)
        advanced(optimizer, scheduler, done)
        state = copy.deepcopy(optimizer.state_dict())
        shared = torch.tensor([0.5], dtype=torch.float64)
        for group in state["param_groups"]:
            group["lr"] = shared.view(()) if views else shared
        optimizer.load_state_dict(state)
        scheduler.load_state_dict(scheduler.state_dict())
        for t in range(done, done + 4):
            assert rates(optimizer) == pytest.approx([made.rate(t), 0.1 * made.rate(t)], rel=1e-12)
            advanced(optimizer, scheduler, 1)
        optimizer.load_state_dict(state)  # after the scheduler's, or without it
        with pytest.warns(UserWarning, match="is 0.5, but"):
            advanced(optimizer, scheduler, 1)
        assert rates(optimizer) == pytest.approx([made.rate(done + 5), 0.1 * made.rate(done + 5)], rel=1e-12)

    def test_the_state_of_the_optimizer_loaded_before_the_first_step(self) -> None:
        made = config(Linear(steps=100, warmup=30), groups=(1.0, 0.1))
        optimizer = optimizer_of(2, lr=torch.tensor(1.0))
        state = optimizer.state_dict()
        scheduler = made.scheduler(optimizer)
        optimizer.load_state_dict(state)
        with pytest.warns(UserWarning, match="something else sets it"):
            advanced(optimizer, scheduler, 1)
        assert rates(optimizer) == pytest.approx([made.rate(1), 0.1 * made.rate(1)])

    def test_two_views_of_one_tensor_are_told_when_the_scheduler_is_made(self) -> None:
        rate = torch.tensor([1.0])
        optimizer = torch.optim.SGD([{"params": [weight()], "lr": rate.view(())} for _ in range(2)])
        config(Linear(steps=100), groups=(1.0, 0.1)).scheduler(optimizer)
        assert rates(optimizer) == pytest.approx([0.1, 0.01])

    def test_two_optimizers_with_one_tensor_are_warned_of(self) -> None:
        rate = torch.tensor(1.0)
        first, second = optimizer_of(lr=rate), optimizer_of(lr=rate)
        one, other = config(Linear(steps=100)).scheduler(first), config(Linear(steps=100), lr=0.2).scheduler(second)
        first.step()
        second.step()
        with pytest.warns(UserWarning, match="perhaps for another optimizer whose rate is the same tensor"):
            one.step()
        with pytest.warns(UserWarning, match="the same tensor"):
            other.step()
