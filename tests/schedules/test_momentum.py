"""The momentum that moves against the rate, against torch's own schedulers, on live optimizers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from lrfinder.config import OptimizerConfig, ScheduleConfig
from lrfinder.errors import UsageError
from lrfinder.schedules import Cyclical, OneCycle, Schedule

PEAK = 0.2


def optimizer(kind: str) -> torch.optim.Optimizer:
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    groups: list[dict[str, Any]] = [{"params": [weights[0]], "lr": PEAK}, {"params": [weights[1]], "lr": PEAK}]
    return torch.optim.SGD(groups, momentum=0.5) if kind == "SGD" else torch.optim.AdamW(groups, betas=(0.5, 0.99))


def used(made: torch.optim.Optimizer, scheduler: Any, steps: int) -> list[list[tuple[float, float]]]:
    rows = []
    for step in range(steps):
        rows.append(
            [
                (group["lr"], group["momentum"] if "momentum" in group else group["betas"][0])
                for group in made.param_groups
            ]
        )
        made.step()
        if step + 1 < steps:
            scheduler.step()
    return rows


def follow(schedule: Schedule, kind: str) -> list[list[tuple[float, float]]]:
    made = optimizer(kind)
    config = ScheduleConfig(optimizer=OptimizerConfig(name=kind, lr=PEAK), schedule=schedule)
    return used(made, config.scheduler(made), schedule.steps)


@pytest.mark.parametrize("kind", ["SGD", "AdamW"])
@pytest.mark.parametrize("anneal", ["cos", "linear"])
@pytest.mark.parametrize("steps", [12, 97])
def test_one_cycle_is_torchs(kind: str, anneal: str, steps: int) -> None:
    schedule = OneCycle(steps=steps, anneal=anneal, momentums=(0.85, 0.95))
    made = optimizer(kind)
    reference = torch.optim.lr_scheduler.OneCycleLR(
        made, max_lr=PEAK, total_steps=steps, anneal_strategy=anneal, base_momentum=0.85, max_momentum=0.95
    )
    for ours, theirs in zip(follow(schedule, kind), used(made, reference, steps), strict=True):
        assert ours[0] == pytest.approx(theirs[0], rel=1e-12)
        assert ours[1] == pytest.approx(theirs[1], rel=1e-12)


@pytest.mark.parametrize("kind", ["SGD", "AdamW"])
@pytest.mark.parametrize(("mode", "gamma"), [("triangular", 1.0), ("triangular2", 1.0), ("exp-range", 0.97)])
def test_cyclical_is_torchs(kind: str, mode: str, gamma: float) -> None:
    schedule = Cyclical(steps=50, up=4, down=7, base=0.1, mode=mode, gamma=gamma, momentums=(0.8, 0.9))
    made = optimizer(kind)
    reference = torch.optim.lr_scheduler.CyclicLR(
        made,
        base_lr=PEAK / 10,
        max_lr=PEAK,
        step_size_up=4,
        step_size_down=7,
        mode=mode.replace("-", "_"),
        gamma=gamma,
        base_momentum=0.8,
        max_momentum=0.9,
    )
    for ours, theirs in zip(follow(schedule, kind), used(made, reference, 50), strict=True):
        assert ours[0] == pytest.approx(theirs[0], rel=1e-9)


def test_without_momentums_the_optimizers_own_stays() -> None:
    assert {momentum for row in follow(OneCycle(steps=20), "AdamW") for _, momentum in row} == {0.5}


def test_resuming_sets_the_momentum_too() -> None:
    schedule = OneCycle(steps=20, momentums=(0.85, 0.95))
    config = ScheduleConfig(optimizer=OptimizerConfig(name="SGD", lr=PEAK), schedule=schedule)
    first, second = optimizer("SGD"), optimizer("SGD")
    before, after = config.scheduler(first), config.scheduler(second)
    used(first, before, 7)
    after.load_state_dict(before.state_dict())
    assert second.param_groups[0]["momentum"] == first.param_groups[0]["momentum"] == schedule.momentum(6)


def test_an_optimizer_without_momentum_is_refused_and_left_alone() -> None:
    made = torch.optim.Adagrad([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    schedule = OneCycle(steps=20, momentums=(0.85, 0.95))
    config = ScheduleConfig(optimizer=OptimizerConfig(name="Adagrad", lr=PEAK), schedule=schedule)
    with pytest.raises(UsageError, match="moves the momentum, but Adagrad has none"):
        config.scheduler(made)
    assert made.param_groups[0]["lr"] == 0.5


@pytest.mark.parametrize("wrong", [(0.95, 0.85), (0.5, 1.0), (-0.1, 0.5), (0.5,), ("0.5", "0.9")])
def test_momentums_that_cannot_be_meant(wrong: Any) -> None:
    with pytest.raises(ValidationError, match="momentums"):
        OneCycle(steps=20, momentums=wrong)
