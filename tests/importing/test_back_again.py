"""What is exported to a framework and imported again is what it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from transformers import Trainer, TrainingArguments

from helpers.shapes import schedules
from lrfinder.config import OptimizerConfig, ScheduleConfig
from lrfinder.export import export_schedule
from lrfinder.importing import import_schedule
from lrfinder.schedules import (
    Constant,
    Cosine,
    InverseSqrt,
    Linear,
    Polynomial,
    Schedule,
    WarmupStableDecay,
)


@pytest.mark.parametrize(
    "schedule",
    [
        Cosine(steps=100, warmup=10, warmup_start=0.0),
        Linear(steps=100, warmup=10, warmup_start=0.0),
        Cosine(steps=100, final=0.1),
        WarmupStableDecay(steps=100, cooldown=20, shape="linear"),
        Constant(steps=5),
    ],
    ids=lambda it: it.name,
)
def test_exported_to_axolotl_and_back(schedule: Schedule, tmp_path: Path) -> None:
    """The matrix holds the file equal to f(t) in axolotl itself."""
    config = ScheduleConfig(optimizer=OptimizerConfig(name="AdamW", lr=1e-4), schedule=schedule)
    export = export_schedule(config, "axolotl")
    assert export.preset is not None
    (tmp_path / "axolotl.yaml").write_text(export.text)
    back = import_schedule(tmp_path / "axolotl.yaml")
    assert back.lrs() == pytest.approx(config.lrs(), rel=1e-9, abs=1e-15)
    assert back.schedule.name == schedule.name
    assert "imported from axolotl's" in (back.evidence.why if back.evidence else "")


@given(schedules(most=60), st.floats(1e-6, 1))
def test_exported_to_huggingface_and_back(schedule: Any, lr: float) -> None:
    assume(max(map(schedule.factor, range(schedule.steps))) > 1e-9)
    config = ScheduleConfig(optimizer=OptimizerConfig(name="AdamW", lr=lr), schedule=schedule)
    export = export_schedule(config, "huggingface")
    names: dict[str, Any] = {}
    exec(export.text, names)  # noqa: S102 - our own text
    if export.preset is None:
        _, scheduler = names["optimizers"](torch.nn.Linear(1, 1))
        back = import_schedule(scheduler, steps=schedule.steps)
    else:
        back = import_schedule(names["ARGUMENTS"])
    assert back.lrs() == pytest.approx(config.lrs(), rel=0, abs=2e-9 * lr)


PRESETS: list[Schedule] = [
    Linear(steps=100, warmup=10, warmup_start=0.0),
    Linear(steps=100),
    Cosine(steps=100, warmup=10, warmup_start=0.0),
    Cosine(steps=100, warmup=1, warmup_start=0.0, final=0.1),
    Polynomial(steps=100, warmup=10, warmup_start=0.0, power=2.0, final=0.05),
    Constant(steps=100, warmup=10, warmup_start=0.0),
    Constant(steps=100, warmup=100, warmup_start=0.0),
    InverseSqrt(steps=100, warmup=10, warmup_start=0.0),
    InverseSqrt(steps=100, warmup=10, warmup_start=0.0, timescale=40),
    WarmupStableDecay(steps=100, warmup=10, warmup_start=0.0, cooldown=20),
    WarmupStableDecay(steps=100, warmup=10, warmup_start=0.1, cooldown=20, shape="linear", final=0.1),
]
OPTIMIZERS = [
    OptimizerConfig(name="AdamW", lr=0.02, settings={"betas": (0.9, 0.95), "eps": 1e-6, "weight_decay": 0.1}),
    OptimizerConfig(name="SGD", lr=0.02, settings={"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}),
]


@pytest.mark.as_pinned("transformers")  # 5.0 leaves the momentum of SGD at 0, whatever `optim_args` says
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda it: it.name)
@pytest.mark.parametrize("schedule", PRESETS, ids=repr)
def test_what_a_preset_says_comes_back_as_the_same_config(
    schedule: Schedule, optimizer: OptimizerConfig, tmp_path: Path
) -> None:
    config = ScheduleConfig(optimizer=optimizer, schedule=schedule)
    export = export_schedule(config, "huggingface")
    assert export.preset is not None
    names: dict[str, Any] = {}
    exec(export.text, names)  # noqa: S102 - our own text
    back = import_schedule(names["ARGUMENTS"])
    assert (back.schedule, back.optimizer) == (schedule, optimizer)
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="none", **names["ARGUMENTS"])
    assert import_schedule(arguments) == back
    made = Trainer(torch.nn.Linear(1, 1), arguments).create_optimizer()
    assert type(made) is getattr(torch.optim, optimizer.name)
    assert {key: made.param_groups[0][key] for key in optimizer.settings} == optimizer.settings
