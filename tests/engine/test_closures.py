"""Optimizers that evaluate the loss themselves, against plain torch."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from helpers.pictures import picture
from helpers.problems import CPU
from lrfinder.engine.short_runs import ShortRuns
from lrfinder.engine.sweep import run_sweep
from lrfinder.errors import UsageError, user_code_location
from lrfinder.records import Precision, RunPlan, Stop, SweepSettings, UpdateOptions
from lrfinder.task.problem import Problem

INPUTS = torch.randn(60, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
TARGETS = INPUTS.sum(1, keepdim=True).sin()
SETTINGS = SweepSettings(repeats=1, steps=12, min_lr=1e-3, max_lr=0.5)


class SharpnessAware(torch.optim.Optimizer):
    """As published (arXiv:2010.01412) and as commonly written: the gradient is there, and `step` needs a closure."""

    def __init__(self, params, lr, rho=0.05):
        super().__init__(params, {"lr": lr, "rho": rho})

    @torch.no_grad()
    def step(self, closure=None):
        assert closure is not None, "Sharpness Aware Minimization requires closure, but it was not provided"
        everything = [p for group in self.param_groups for p in group["params"]]
        norm = torch.stack([p.grad.norm() for p in everything]).norm()
        moves = [p.grad * (group["rho"] / norm) for group in self.param_groups for p in group["params"]]
        for p, move in zip(everything, moves, strict=True):
            p.data.add_(move)
        with torch.enable_grad():
            closure()
        for p, move in zip(everything, moves, strict=True):
            p.data.sub_(move)
        for group in self.param_groups:
            for p in group["params"]:
                p.add_(p.grad, alpha=-group["lr"])


def lbfgs(params, lr):
    return torch.optim.LBFGS(params, lr=lr, max_iter=4, history_size=5)


OPTIMIZERS = {"LBFGS": lbfgs, "SAM": SharpnessAware}


def make_model():
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1)).double()


def regression(optimizer, *, batch_size=12, **changes):
    given = {
        "name": "p",
        "model": make_model,
        "train_loader": DataLoader(TensorDataset(INPUTS, TARGETS), batch_size=batch_size),
        "loss_fn": nn.functional.mse_loss,
        "optimizer": optimizer,
    }
    return Problem(**(given | changes))


def repeat_of(problem, recorder, settings=SETTINGS):
    (trace,) = run_sweep(problem, settings, device=CPU, observer=recorder())
    return trace


def losses_of_a_bare_loop(trace, make_optimizer, *, clip=None):
    """As torch's documentation writes it; where the gradient must be there before, it is."""
    torch.manual_seed(trace.seed)
    model = make_model()
    optimizer = make_optimizer(list(model.parameters()), 1.0)
    losses = []
    for rate, start in zip([*trace.lrs, None], itertools.cycle(range(0, 60, 12)), strict=False):
        x, y = INPUTS[start : start + 12], TARGETS[start : start + 12]

        def closure(x=x, y=y):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), y)
            loss.backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            return loss

        losses.append(closure().item())
        if rate is not None:
            optimizer.param_groups[0]["lr"] = rate
            optimizer.step(closure)
    return losses


@pytest.mark.parametrize("clip", [None, 0.1])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_losses_are_those_of_a_bare_loop(recorder, name, clip):
    trace = repeat_of(regression(OPTIMIZERS[name], training=UpdateOptions(clip_norm=clip)), recorder)
    expected = losses_of_a_bare_loop(trace, OPTIMIZERS[name], clip=clip)
    assert [trace.initial_loss, *trace.losses] == pytest.approx(expected, rel=1e-9)
    assert (trace.stop, trace.updates, len(trace.lrs)) == (Stop.COMPLETED, 12, 12)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_accumulated_batches_are_one_batch_of_them_all(recorder, name):
    parts = repeat_of(regression(OPTIMIZERS[name], batch_size=4, training=UpdateOptions(accumulate=3)), recorder)
    whole = repeat_of(regression(OPTIMIZERS[name]), recorder)
    assert parts.losses == pytest.approx(whole.losses, rel=1e-6)
    assert parts.updates == whole.updates == 12


def test_the_forward_pass_that_is_measured_is_lbfgs_s_first_evaluation(recorder):
    model, calls = make_model(), []
    optimizer = lbfgs(model.parameters(), 1.0)
    evaluations = []

    def step(model, batch):
        calls.append(1)
        evaluations.append(optimizer.state[model[0].weight].get("func_evals", 0))
        return nn.functional.mse_loss(model(batch[0]), batch[1])

    repeat_of(regression(optimizer, model=model, training_step=step), recorder)
    assert len(calls) == evaluations[-1] + 1  # the loss after the last update
    assert evaluations[-1] > 3 * 12


def test_lbfgs_by_its_name(recorder):
    trace = repeat_of(regression(None, optimizer_name="lbfgs"), recorder)
    expected = losses_of_a_bare_loop(trace, torch.optim.LBFGS)
    assert [trace.initial_loss, *trace.losses] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_live_one_comes_back_bit_for_bit_and_repeats_are_alike(recorder, name):
    model = make_model()
    optimizer = OPTIMIZERS[name](model.parameters(), 0.1)

    def closure():
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(INPUTS), TARGETS)
        loss.backward()
        return loss

    closure()
    optimizer.step(closure)
    mine = (model, optimizer)
    before = picture(mine, set())
    problem = regression(optimizer, model=model)
    first, second = run_sweep(problem, SweepSettings(repeats=2, steps=8), device=CPU, observer=recorder())
    assert first.losses == second.losses
    assert first.losses[0] != first.initial_loss
    with ShortRuns(problem, seed=0, device=CPU, observer=recorder()) as runs:
        one, two = (runs.run(RunPlan(lr=0.05, steps=10)) for _ in range(2))
    assert one.loss == two.loss is not None
    assert one.loss < one.initial_loss
    assert picture(mine, set()) == before


def test_a_short_run_ends_where_a_bare_loop_does(recorder):
    model = make_model()
    loader = DataLoader(TensorDataset(INPUTS, TARGETS), batch_size=60)
    problem = regression(lbfgs, model=copy.deepcopy(model), train_loader=loader, val_loader=loader)
    with ShortRuns(problem, seed=0, device=CPU, observer=recorder()) as runs:
        run = runs.run(RunPlan(lr=0.05, steps=10, schedule="constant"))
    optimizer = lbfgs(model.parameters(), 0.05)

    def closure():
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(INPUTS), TARGETS)
        loss.backward()
        return loss

    for _ in range(10):
        optimizer.step(closure)
    assert run.loss == pytest.approx(closure().item(), rel=1e-9)
    assert run.updates == 10


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_loss_scaler_takes_no_closure(recorder, name):
    problem = regression(OPTIMIZERS[name], training=UpdateOptions(precision=Precision.FP16))
    kind = {"LBFGS": "LBFGS", "SAM": "SharpnessAware"}[name]
    with pytest.raises(
        UsageError, match=rf"fp16 needs a loss scaler, and optimizer \({kind}\) needs a closure"
    ) as caught:
        repeat_of(problem, recorder)
    assert "bf16" in caught.value.hint


def test_other_failures_of_step_are_the_users_own(recorder):
    class Failing(torch.optim.SGD):
        steps = 0

        def step(self, closure=None):
            self.steps += 1
            if self.steps == 3:
                raise ValueError("no closure today")
            return super().step(closure)

    with pytest.raises(ValueError, match="no closure today") as caught:
        repeat_of(regression(lambda params, lr: Failing(params, lr=lr)), recorder)
    assert user_code_location(caught.value) == "calling optimizer.step() for update 2"


def test_a_failure_within_the_closure_is_the_users_own(recorder):
    calls = itertools.count()

    def step(model, batch):
        if next(calls) == 2:
            raise ValueError("third time")
        return model(batch[0]).square().mean()

    with pytest.raises(ValueError, match="third time") as caught:
        repeat_of(regression(lbfgs, training_step=step), recorder)
    assert user_code_location(caught.value) == "calling training_step(model, batch)"
