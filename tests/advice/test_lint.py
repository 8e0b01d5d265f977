"""What is suspicious about a config, and what isn't."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lrfinder.advice.checks.lint import lint
from lrfinder.config import Evidence, OptimizerConfig, ScheduleConfig, load_schedule
from lrfinder.schedules import (
    SCHEDULES,
    Constant,
    Exponential,
    Linear,
    MultiStep,
    Plateau,
    Schedule,
    Table,
)

CONFIGS = Path(__file__).parents[2] / "configs" / "schedules"


def config(name: str = "AdamW", lr: float = 0.001, schedule: Schedule | None = None, **settings: Any) -> ScheduleConfig:
    optimizer = OptimizerConfig(name=name, lr=lr, settings=settings)
    return ScheduleConfig(optimizer=optimizer, schedule=schedule or Linear(steps=1000, warmup=50))


SUSPICIOUS = {
    "an adaptive rate of 1": (config(lr=1.0), "optimizer.lr", "AdamW moves each weight by about that much"),
    "a tiny rate": (config("SGD", 1e-9), "optimizer.lr", "no weight near 1 would change"),
    "momentum's share": (config("SGD", 20.0, momentum=0.9), "optimizer.lr", "momentum makes 200 of it"),
    "Keras's Adadelta": (config("Adadelta", 0.001), "optimizer.lr", "Adadelta's rate is about 1 in torch"),
    "Lion at Adam's rate": (config("lion_pytorch.Lion", 0.03), "optimizer.lr", "a third to a tenth of AdamW's"),
    "Prodigy at Adam's rate": (config("Prodigy", 1e-3), "optimizer.lr", "estimates its rate itself"),
    "Rprop decays": (config("Rprop", 0.01), "schedule.name", "Rprop sets the size"),
    "schedule-free decays": (config("AdamWScheduleFree", 0.01), "schedule.name", "averages its weights"),
    "only warm-up": (config(schedule=Linear(steps=100, warmup=100)), "schedule.warmup", "are the whole run"),
    "mostly warm-up": (config(schedule=Linear(steps=100, warmup=60)), "schedule.warmup", "are most of the run's 100"),
    "ends early": (
        config(schedule=Exponential(steps=1000, epoch=10, factor=0.5)), "schedule", "from update ",
    ),
    "zeros at the end": (
        config(schedule=Table(steps=1000, points=((0, 1.0), (500, 0.0), (1000, 0.0)))), "schedule", "from update 500 ",
    ),
    "erases": (config(lr=0.1, weight_decay=0.2), "optimizer.settings.weight_decay", "takes 2.0% of each weight"),
    "erases with momentum": (
        config("SGD", 0.5, momentum=0.9, weight_decay=0.01), "optimizer.settings.weight_decay", "takes 5.0% of each",
    ),
    "no weight decay there": (
        config("LBFGS", 0.1, Constant(steps=100), weight_decay=20.0), "optimizer.settings.weight_decay",
        "torch's LBFGS takes no weight_decay",
    ),
    "nor a momentum": (
        config("torch.optim.AdamW", momentum=0.9), "optimizer.settings.momentum", "torch's AdamW takes no momentum",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SUSPICIOUS)
def test_a_mistake_is_told_with_its_place(case: str) -> None:
    given, where, what = SUSPICIOUS[case]
    (found,) = lint(given)
    assert found.where == where
    assert what in found.what
    assert found.hint


def test_a_rate_outside_its_band() -> None:
    outside = config().model_copy(update={"evidence": Evidence(band=(0.01, 0.1))})
    (found,) = lint(outside)
    assert found.what == "0.001 is outside the band that was measured, 0.01 to 0.1"
    assert lint(config().model_copy(update={"evidence": Evidence(band=(1e-4, 0.1))})) == ()


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_shape_as_it_is_recommended_is_well(name: str) -> None:
    shape = SCHEDULES[name]
    assert lint(config(schedule=shape.for_run(steps=10_000, warmup=0 if shape.rises_itself else 500))) == ()


@pytest.mark.parametrize("path", sorted(CONFIGS.iterdir()), ids=lambda path: path.name)
def test_the_examples_are_well(path: Path) -> None:
    assert lint(load_schedule(path)) == ()


WELL = {
    "torch's defaults of SGD": config("SGD", 0.001, momentum=0.9, weight_decay=1e-4),
    "a language model": config("AdamW", 6e-4, Linear(steps=100_000, warmup=2000), weight_decay=0.1),
    "a residual net": config("SGD", 0.1, MultiStep(steps=300, milestones=(150, 225), factor=0.1), momentum=0.9,
                             weight_decay=5e-4),
    "a high rate of plain descent": config("SGD", 20.0),
    "an unknown optimizer": config("Shampoo", 5.0, weight_decay=0.5),
    "Adadelta": config("Adadelta", 1.0),
    "another package's": config("bnb.optim.Adam", optim_bits=8),
    "Lion among others": config("SGD + Lion", 0.03),
    "schedule-free among others": config("SGD + SGDScheduleFree", 0.03),
    "Prodigy": config("Prodigy", 1.0),
    "Rprop that stays": config("Rprop", 0.01, Constant(steps=100)),
    "Adam's own decay": config("Adam", 0.2, weight_decay=0.1),
    "a plateau": config(schedule=Plateau(steps=1000)),
}  # fmt: skip


@pytest.mark.parametrize("case", WELL)
def test_what_people_do_is_not_suspicious(case: str) -> None:
    assert lint(WELL[case]) == ()
