"""Exported modules on the optimizers they are given: rates in tensors, several groups, and the calls of a plateau.

They are held equal to `config.scheduler` on an optimizer that is alike, or to numbers by hand.
"""

from __future__ import annotations

import copy
import json
import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from helpers.zygote import Zygote
from lrfinder.config import OptimizerConfig, ScheduleConfig
from lrfinder.errors import UsageError
from lrfinder.export import export_schedule
from lrfinder.schedules import Linear, Plateau, Rex, Schedule

# An optimizer is handed over. To timm's as well, but that needs a process of its own.
HANDED_OVER = ("config", "torch", "deepspeed", "torchtune")
HUGGING_FACE = pytest.param("huggingface", marks=pytest.mark.needs("transformers"))


def config(schedule: Schedule, groups: tuple[float, ...] | None = None) -> ScheduleConfig:
    return ScheduleConfig(optimizer=OptimizerConfig(name="SGD", lr=0.1, groups=groups), schedule=schedule)


def optimizer_of(*lrs: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD([{"params": [weight()], "lr": lr} for lr in lrs])


def weight() -> nn.Parameter:
    return nn.Parameter(torch.ones(2))


def rates(optimizer: Any) -> list[float]:
    return [float(group["lr"]) for group in optimizer.param_groups]


def exported(made: ScheduleConfig, target: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "exported"}
    exec(export_schedule(made, target).text, names)  # noqa: S102 - our own text
    return names


def scheduler_of(made: ScheduleConfig, target: str, *lrs: Any) -> tuple[Any, Any]:
    """Return an optimizer with these rates, and the exported scheduler of it."""
    if target in HANDED_OVER:
        optimizer = optimizer_of(*lrs)
        return optimizer, of(optimizer, made, target)
    names = exported(made, target)
    if target == "huggingface":
        parts = [[weight()] for _ in lrs] if made.optimizer.groups else nn.Linear(2, 1)
        return names["optimizers"](parts)
    groups = [{"params": [weight()], "lr": lr} for lr in lrs]
    given = names["configure_optimizers"](Module(groups))
    return given["optimizer"], given["lr_scheduler"]["scheduler"]


def of(optimizer: Any, made: ScheduleConfig, target: str) -> Any:
    if target == "config":
        return made.scheduler(optimizer)
    names = exported(made, target)
    if target == "torch":
        return names["make_scheduler"](optimizer)
    return names["lr_scheduler"](optimizer, **({"num_training_steps": made.steps} if target == "torchtune" else {}))


class Module:
    """What `configure_optimizers` asks of a LightningModule."""

    def __init__(self, groups: list[dict[str, Any]]) -> None:
        self.groups = groups

    def parameters(self) -> list[dict[str, Any]]:
        return self.groups

    def param_groups(self) -> list[Any]:
        return [group["params"] for group in self.groups]


def advanced(optimizer: Any, scheduler: Any, updates: int) -> None:
    for _ in range(updates):
        optimizer.step()
        scheduler.step()


class TestPlateauCalls:
    SCHEDULE = Plateau(warmup=5, steps=1000, factor=0.5, patience=0)

    @pytest.mark.parametrize("loss", [0.83, torch.tensor(0.83), 5, math.nan])
    @pytest.mark.parametrize("target", ["torch", "lightning", HUGGING_FACE])
    def test_a_loss_that_is_handed_to_step_is_observed(self, target: str, loss: Any) -> None:
        both = [scheduler_of(config(self.SCHEDULE), name, 0.1) for name in ("config", target)]
        for _ in range(4):
            for optimizer, scheduler in both:
                advanced(optimizer, scheduler, 3)
                scheduler.step(loss)
            (ours, scheduler), (theirs, other) = both
            assert other.last_epoch == scheduler.last_epoch
            assert rates(theirs) == pytest.approx(rates(ours), rel=1e-12)
            assert other.get_last_lr() == pytest.approx(scheduler.get_last_lr(), rel=1e-12)
        assert rates(theirs)[0] < 0.05

    @pytest.mark.parametrize("target", ["config", "torch", "lightning", HUGGING_FACE])
    def test_losses_alone_in_a_warm_up_are_refused_with_nothing_changed(self, target: str) -> None:
        optimizer, scheduler = scheduler_of(config(self.SCHEDULE), target, 0.1)

        def refused(said: str) -> None:
            before = (rates(optimizer), copy.deepcopy(scheduler.state_dict()))
            with pytest.raises((ValueError, UsageError), match=said):
                scheduler.step(0.83)
            assert (rates(optimizer), scheduler.state_dict()) == before

        refused("a loss came before any update was counted")
        advanced(optimizer, scheduler, 1)
        scheduler.step(0.83)
        refused("two losses came at")
        scheduler.load_state_dict(scheduler.state_dict())
        scheduler.step(0.83)  # a run that is carried on validates again
        advanced(optimizer, scheduler, 1)
        scheduler.step(0.5)
        assert rates(optimizer) == pytest.approx([0.1 * 3 / 5 / 2])

    @pytest.mark.parametrize("target", ["config", "torch", "lightning"])
    def test_without_a_warm_up_losses_alone_are_enough(self, target: str) -> None:
        optimizer, scheduler = scheduler_of(config(Plateau(steps=1000, factor=0.5, patience=0)), target, 0.1)
        for _ in range(4):
            optimizer.step()
            scheduler.step(0.83)
        assert rates(optimizer) == pytest.approx([0.0125])

    @pytest.mark.needs("transformers")
    def test_without_a_warm_up_hugging_faces_own_class_takes_losses_alone(self) -> None:
        made = config(Plateau(steps=1000, factor=0.5, patience=0), groups=(1.0, 0.1))
        optimizer, scheduler = scheduler_of(made, "huggingface", 0.1, 0.01)
        for _ in range(4):
            optimizer.step()
            scheduler.step(0.83)
        assert rates(optimizer) == pytest.approx([0.0125, 0.00125])

    def test_behind_another_scheduler_it_begins_when_its_turn_comes(self) -> None:
        optimizer = optimizer_of(0.1)
        plateau = exported(config(self.SCHEDULE), "torch")["make_scheduler"](optimizer)
        before = torch.optim.lr_scheduler.LinearLR(optimizer, 0.5, 1.0, total_iters=3)
        both = torch.optim.lr_scheduler.SequentialLR(optimizer, [before, plateau], milestones=[3])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, on its own step(0)
            advanced(optimizer, both, 5)
        assert plateau.last_epoch == 2
        assert rates(optimizer) == pytest.approx([0.1 * 3 / 5])


class TestFloors:
    @pytest.mark.parametrize("warmup", [0, 3])
    @pytest.mark.parametrize("target", ["torch", "lightning"])
    def test_each_group_falls_to_its_share(self, target: str, warmup: int) -> None:
        """Groups that the config doesn't list: a floor of 0.02 for both would hold the slower one at 0.01."""
        made = config(Plateau(steps=100, factor=0.5, patience=0, floor=0.2, warmup=warmup))
        found = []
        for name in ("config", target):
            optimizer, scheduler = scheduler_of(made, name, 0.1, 0.01)
            if warmup:
                advanced(optimizer, scheduler, 5)
            used = []
            for _ in range(6):
                scheduler.step(1.0)
                used.append(rates(optimizer))
            found.append(used)
        ours, theirs = found
        assert ours[-1] == pytest.approx([0.02, 0.002])
        for left, right in zip(ours, theirs, strict=True):
            assert right == pytest.approx(left, rel=1e-12)

    @pytest.mark.parametrize("target", ["torch", "lightning", HUGGING_FACE])
    def test_groups_that_all_have_the_peak_are_no_list_of_floors(self, target: str) -> None:
        made = config(Plateau(steps=100, factor=0.5, patience=0, floor=0.2), groups=(1.0, 1.0, 1.0))
        if target == "huggingface":
            assert exported(made, target)["ARGUMENTS"]["lr_scheduler_kwargs"]["min_lr"] == pytest.approx(0.02)
            return
        optimizer, scheduler = scheduler_of(made, target, 0.1, 0.1, 0.1)
        for _ in range(6):
            scheduler.step(1.0)
        assert rates(optimizer) == pytest.approx([0.02] * 3)


class TestTensors:
    @pytest.mark.parametrize("rate", [torch.tensor(1), torch.tensor(True)], ids=["int", "bool"])
    @pytest.mark.parametrize("groups", [None, (1.0, 0.1)])
    @pytest.mark.parametrize("target", HANDED_OVER)
    def test_one_of_whole_numbers_is_refused_and_left_alone(
        self, target: str, groups: tuple[float, ...] | None, rate: torch.Tensor
    ) -> None:
        made = config(Rex(steps=10), groups)
        optimizer = optimizer_of(0.7, rate)
        before = rates(optimizer)
        with pytest.raises((ValueError, UsageError), match=r"a tensor of torch\.(int64|bool), which no rate fits in"):
            of(optimizer, made, target)
        assert rates(optimizer) == before
        assert optimizer.param_groups[1]["lr"] is rate
        assert not any("initial_lr" in group for group in optimizer.param_groups)

    def test_an_exported_plateau_refuses_it_too(self) -> None:
        for warmup in (0, 3):
            with pytest.raises(ValueError, match=r"torch\.int64"):
                scheduler_of(config(Plateau(steps=10, warmup=warmup)), "torch", torch.tensor(1))

    @pytest.mark.parametrize("target", HANDED_OVER)
    def test_two_views_of_one_get_one_each(self, target: str) -> None:
        rate = torch.tensor([0.7], dtype=torch.float64)
        made = config(Linear(steps=10, warmup=3), groups=(1.0, 0.1))
        optimizer, scheduler = scheduler_of(made, target, rate.view(()), rate.view(()))
        for t in range(4):
            assert rates(optimizer) == pytest.approx([made.rate(t), 0.1 * made.rate(t)])
            advanced(optimizer, scheduler, 1)


@pytest.mark.parametrize("target", HANDED_OVER[1:])
def test_a_group_that_was_added_after_a_scheduler_is_no_measure_of_the_others(target: str) -> None:
    """Built at 0.7, it would be taken for the fastest, and slow down the group that follows f(t)."""
    made = config(Rex(steps=10))
    optimizer, _ = scheduler_of(made, target, 0.7)
    optimizer.add_param_group({"params": [weight()], "lr": 0.7})
    with pytest.raises(ValueError, match=r"set the initial_lr of the added ones .*, at most 0\.1"):
        of(optimizer, made, target)
    assert rates(optimizer) == [0.1, 0.7]
    optimizer.param_groups[1]["initial_lr"] = 0.05
    of(optimizer, made, target)
    assert rates(optimizer) == [0.1, 0.05]


@pytest.mark.parametrize("target", HANDED_OVER)
def test_groups_that_are_all_at_zero_are_all_alike(target: str) -> None:
    optimizer, _ = scheduler_of(config(Rex(steps=10)), target, 0.0, 0.0)
    assert rates(optimizer) == [0.1, 0.1]


TIMMS = """
import json, sys
import torch
from alone import names_of, without_init
without_init("timm")
rate, used = torch.tensor(1), []
for text in json.load(sys.stdin):
    for lrs in ([rate], [0.0, 0.0]):
        optimizer = torch.optim.SGD([{"params": [torch.nn.Parameter(torch.ones(2))], "lr": lr} for lr in lrs])
        scheduler = names_of(text)["make_scheduler"](optimizer)
        optimizer.step()
        scheduler.step_update(1)
        used.append([float(group["lr"]) for group in optimizer.param_groups])
print(json.dumps([used, int(rate)]))
"""


def test_timm_puts_numbers_in_the_place_of_a_tensor_and_the_file_says_so(zygote: Zygote) -> None:
    schedules = (Rex(steps=10), Linear(steps=10))  # by a function, and by timm's own class
    texts = [export_schedule(config(schedule), "timm").text for schedule in schedules]
    assert all("a rate in a tensor gives way to one" in text for text in texts)
    used, tensor = json.loads(zygote.python(TIMMS, given=json.dumps(texts), cwd=Path(__file__).parent))
    for i, schedule in enumerate(schedules):
        assert used[2 * i] == pytest.approx([config(schedule).rate(1)])
        assert used[2 * i + 1] == pytest.approx([config(schedule).rate(1)] * 2)
    assert tensor == 1
