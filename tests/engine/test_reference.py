"""The engine gives the curve of the reference sweep, bit for bit, in every mode."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import nn

from helpers.problems import CPU
from lrfinder.engine.observer import Observer
from lrfinder.engine.short_runs import ShortRuns
from lrfinder.engine.sweep import run_sweep
from lrfinder.records import Metric, RunPlan, Spacing, Stop, SweepSettings, UpdateOptions
from lrfinder.schedules import SCHEDULES
from lrfinder.task.problem import Problem

SPEC = importlib.util.spec_from_file_location("reference", Path(__file__).with_name("reference.py"))
reference = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(reference)

STEPS = 24
DRAWS = torch.Generator().manual_seed(0)


def batches(count):
    return [(torch.randn(8, 3, generator=DRAWS), torch.randn(8, 1, generator=DRAWS)) for _ in range(count)]


TRAIN, VAL = batches(7), batches(3)


def momentum(params):
    return torch.optim.SGD(params, lr=0.1, momentum=0.9)


def adam(params):
    return torch.optim.Adam(params, lr=0.1)


def problem(model, optimizer, **options):
    given = {"val_loader": VAL} if options.pop("val", False) else {}
    training = UpdateOptions(accumulate=options.pop("accumulate", 1))
    return Problem(
        name="reference", model=model, train_loader=TRAIN, loss_fn=nn.functional.mse_loss,
        optimizer=optimizer(model.parameters()), training=training, **given,
    )  # fmt: skip


def net():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 1))


@pytest.mark.parametrize("optimizer", [momentum, adam])
@pytest.mark.parametrize("spacing", Spacing)
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("metric", Metric)
def test_every_curve_is_that_of_the_reference(optimizer, spacing, accumulate, metric):
    settings = SweepSettings(
        steps=STEPS, repeats=2, min_lr=1e-4, max_lr=1e-2, spacing=spacing, metric=metric, mode="continuous"
    )
    model, val = net(), metric is Metric.VAL
    made = run_sweep(
        problem(model, optimizer, val=val, accumulate=accumulate), settings, device=CPU, observer=Observer()
    )
    expected = reference.sweep(
        model, optimizer, nn.functional.mse_loss, TRAIN, settings.lrs(),
        accumulate=accumulate, probe=metric is Metric.PROBE, val=VAL if val else (),
    )  # fmt: skip
    assert [trace.stop for trace in made] == [Stop.COMPLETED] * 2
    assert [list(trace.losses) for trace in made] == [expected] * 2


@pytest.mark.parametrize("optimizer", [momentum, adam])
@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_every_short_run_is_that_of_the_reference(optimizer, schedule):
    model, plan = net(), RunPlan(lr=0.01, steps=STEPS, schedule=schedule)
    factor = SCHEDULES[schedule].for_run(steps=STEPS, warmup=1).factor  # a twentieth of the updates
    rates = [plan.lr * factor(step) for step in range(STEPS)]
    with ShortRuns(problem(model, optimizer, val=True), seed=0, device=CPU, observer=Observer()) as runs:
        made = [runs.run(plan).loss for _ in range(2)]
    assert made == [reference.short_run(model, optimizer, nn.functional.mse_loss, TRAIN, rates, VAL)] * 2
