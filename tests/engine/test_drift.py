"""A loss that rises by itself, whatever the rate, as while a queue of negatives fills: that is no divergence."""

from __future__ import annotations

import dataclasses

import torch
from torch import nn

import lrfinder
from lrfinder.advice.sweep.evidence import profile_if_learned
from lrfinder.records import OptimizerFacts, RunPlan, Setup, ShortRun, Stop, SweepResult, SweepSettings
from lrfinder.search.lr_profile import drift_of, lr_profile

X = torch.randn(2560, 4, generator=torch.Generator().manual_seed(0))
Y = X.sum(1, keepdim=True) / 2
BATCHES = [(X[i : i + 64], Y[i : i + 64]) for i in range(0, 2560, 64)]


class Queue(nn.Linear):
    """Its loss is 6 higher once its queue is full."""

    def __init__(self) -> None:
        super().__init__(4, 1)
        self.register_buffer("filled", torch.zeros(()))


def step(model, batch):
    x, y = batch
    loss = ((model(x) - y) ** 2).mean() + 3.0 + 6 * model.filled
    if model.training:
        model.filled += 0.1 * (1 - model.filled)
    return loss


def test_the_rates_above_are_tried_all_the_same() -> None:
    result = lrfinder.sweep(Queue, train_loader=BATCHES, training_step=step, max_lr=10.0, seed=1)
    assert {trace.stop for trace in result.traces} == {Stop.DIVERGED}  # within the first decade
    controls = [run for run in result.runs if run.plan.control]
    assert [run.plan.lr for run in controls] == [1e-6, 1e-8]
    assert all(run.stop is Stop.COMPLETED for run in controls)
    advice = lrfinder.recommend(result, steps=400)
    assert "never fell" not in advice.why
    assert "the loss rises by itself, whatever the rate" in advice.why
    assert advice.status == "uncertain"
    assert 1e-2 < advice.lr < 1.0  # AdamW learns four weights of 1 in 75 updates


def test_a_lowest_rate_that_is_too_high_is_no_drift() -> None:
    result = lrfinder.sweep(
        lambda: nn.Linear(4, 1),
        train_loader=[(30 * x, y) for x, y in BATCHES],
        loss_fn=nn.functional.mse_loss,
        optimizer=lambda params, lr: torch.optim.SGD(params, lr=lr),
        min_lr=1.0,
        max_lr=100.0,
        steps=20,
    )
    assert lrfinder.recommend(result, steps=400).lr is None


def run_at(lr: float, loss: float, **plan: object) -> ShortRun:
    return ShortRun(
        plan=RunPlan(lr=lr, steps=75, **plan),
        seed=0,
        metric="val",
        initial_loss=3.0,
        loss=loss,
        stop=Stop.COMPLETED,
        updates=75,
        rise=1.2 if plan.get("control") else 0.0,
    )


def sweep_of_runs(*runs: ShortRun) -> SweepResult:
    setup = Setup(
        model="m",
        parameters=1,
        loss="l",
        optimizer=OptimizerFacts(name="AdamW", settings={}),
        batch_size=1,
        batches_per_epoch=None,
        device="cpu",
        torch="2",
        python="3",
        lrfinder="0",
    )
    return SweepResult(settings=SweepSettings(), setup=setup, traces=(), runs=runs)


def test_runs_are_compared_with_the_controls() -> None:
    controls = (run_at(1e-6, 4.2, control=True), run_at(1e-8, 4.2, control=True))
    better = (run_at(1e-3, 3.2), run_at(1e-2, 3.04), run_at(1e-1, 3.6))
    profile = profile_if_learned(sweep_of_runs(*controls, *better))
    assert profile is not None
    assert (profile.start, profile.lowest.loss) == (4.2, 3.04)
    apart = dataclasses.replace(controls[1], rise=0.1)
    assert drift_of((controls[0], apart)) == (0.0, 0.0)
    assert lr_profile((controls[0], apart, *better), 75).start == 3.0


def test_a_wide_flat_valley_is_not_taken_for_chance() -> None:
    """LBFGS learns at rates four decades below its best one."""
    losses = {1e-6: 1.5, 1e-5: 1.49, 1e-4: 0.89, 1e-3: 0.49, 1e-2: 0.18, 0.1: 0.06, 1.0: 0.045}
    runs = [dataclasses.replace(run_at(lr, loss), initial_loss=1.51) for lr, loss in losses.items()]
    assert profile_if_learned(sweep_of_runs(*runs)) is not None
    falls = zip(losses, (0.3, 0.2, 0.3, 0.2, 0.3, 0.35, 0.4), strict=True)
    noise = [dataclasses.replace(run_at(lr, 1.51 - fall), initial_loss=1.51) for lr, fall in falls]
    result = sweep_of_runs(*noise)
    assert profile_if_learned(result) is None
    advice = lrfinder.recommend(result, steps=400)
    assert advice.why.startswith(
        "short runs fell from 1.51 to 1.11, and at rates too small to learn at they changed by"
    )
