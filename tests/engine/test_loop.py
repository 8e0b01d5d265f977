"""One repeat of a sweep against closed forms and against a bare loop."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from helpers.problems import CPU
from lrfinder.engine.sweep import run_sweep
from lrfinder.records import Spacing, Stop, SweepSettings
from lrfinder.task.problem import Problem

CURVATURE = 4.0


class Quadratic(nn.Module):
    """loss = 0.5 * CURVATURE * x ** 2; SGD multiplies x by 1 - rate * CURVATURE."""

    def __init__(self):
        super().__init__()
        self.x = nn.Parameter(torch.tensor(3.0, dtype=torch.float64))

    def forward(self, scale):
        return scale * 0.5 * CURVATURE * self.x**2


def quadratic(loader, **changes):
    given = {
        "name": "quadratic",
        "model": Quadratic,
        "train_loader": loader,
        "training_step": lambda model, batch: model(batch),
        "optimizer": lambda params, lr: torch.optim.SGD(params, lr=lr),
    }
    return Problem(**(given | changes))


def one_repeat(problem, recorder, **settings):
    observer = recorder()
    (trace,) = run_sweep(problem, SweepSettings(repeats=1, **settings), device=CPU, observer=observer)
    assert observer.traces == [trace]
    assert [(point.step, point.lr, point.loss) for point in observer.points] == [
        (step, *pair) for step, pair in enumerate(zip(trace.lrs, trace.losses, strict=True))
    ] or math.isnan(trace.losses[-1])
    return trace


@pytest.mark.parametrize("spacing", list(Spacing))
def test_each_loss_is_that_after_its_rate_in_closed_form(recorder, spacing):
    trace = one_repeat(quadratic([torch.ones(())]), recorder, min_lr=1e-4, max_lr=0.2, steps=30, spacing=spacing)
    x, expected = 3.0, []
    for rate in SweepSettings(min_lr=1e-4, max_lr=0.2, steps=30, spacing=spacing).lrs():
        x *= 1 - rate * CURVATURE
        expected.append(0.5 * CURVATURE * x * x)
    assert trace.initial_loss == 18.0
    assert trace.losses == pytest.approx(expected, rel=1e-12)
    assert trace.lrs == SweepSettings(min_lr=1e-4, max_lr=0.2, steps=30, spacing=spacing).lrs()
    assert (trace.stop, trace.updates, trace.why) == (Stop.COMPLETED, 30, "")


def test_pairing_batch_by_batch(recorder):
    # Batch i scales its loss by i + 1: losses[i] must be batch i + 1's, at weights moved by the gradients of 0 ... i.
    scales = [torch.tensor(float(i + 1)) for i in range(11)]
    trace = one_repeat(quadratic(scales), recorder, min_lr=1e-4, max_lr=1e-2, steps=10)
    x, expected = 3.0, []
    for i, rate in enumerate(trace.lrs):
        x *= 1 - rate * CURVATURE * (i + 1)
        expected.append((i + 2) * 0.5 * CURVATURE * x * x)
    assert trace.losses == pytest.approx(expected, rel=1e-12)


def test_stops_soon_after_the_largest_stable_rate(recorder):
    trace = one_repeat(quadratic([torch.ones(())]), recorder, min_lr=1e-3, max_lr=100.0, steps=200)
    assert trace.stop is Stop.DIVERGED
    assert trace.lrs[-1] > 2 / CURVATURE
    assert min(trace.losses) < 18 < 2 * 18 < sorted(trace.losses[-5:])[2] < 1e9
    assert "median of the last five" in trace.why


def test_the_same_numbers_as_a_bare_loop_with_two_groups_and_a_tensor_rate(recorder):
    inputs = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    targets = torch.randint(0, 3, (40,), generator=torch.Generator().manual_seed(1))

    def make_model():
        return nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.2), nn.Tanh(), nn.Linear(8, 3))

    def make_loader():
        return DataLoader(TensorDataset(inputs, targets), batch_size=8, shuffle=True)

    def make_optimizer(params, lr):
        return torch.optim.Adam(
            [{"params": params[:2], "lr": 0.1 * lr}, {"params": params[2:], "lr": torch.tensor(lr)}], foreach=False
        )

    problem = Problem(
        name="groups",
        model=make_model,
        train_loader=make_loader,
        loss_fn=nn.functional.cross_entropy,
        optimizer=make_optimizer,
    )
    trace = one_repeat(problem, recorder, min_lr=1e-4, max_lr=1e-1, steps=12, seed=7)

    torch.manual_seed(trace.seed)
    model = make_model()
    optimizer = make_optimizer(list(model.parameters()), 1e-3)
    batches = itertools.chain.from_iterable(make_loader() for _ in itertools.count())
    losses = []
    for rate in [*trace.lrs, None]:
        x, y = next(batches)
        loss = nn.functional.cross_entropy(model(x), y)
        losses.append(loss.item())
        if rate is not None:
            optimizer.zero_grad()
            loss.backward()
            optimizer.param_groups[0]["lr"] = 0.1 * rate
            optimizer.param_groups[1]["lr"].fill_(rate)
            optimizer.step()
    assert [trace.initial_loss, *trace.losses] == pytest.approx(losses, rel=1e-6)


def test_every_group_gets_its_share_of_every_rate_and_a_tensor_rate_stays_the_same_tensor(recorder):
    seen = []

    class Spy(torch.optim.SGD):
        def step(self, closure=None):
            seen.append([(float(group["lr"]), id(group["lr"])) for group in self.param_groups])
            return super().step(closure)

    class Two(Quadratic):
        def __init__(self):
            super().__init__()
            self.unused = nn.Parameter(torch.zeros(2))

    rate_tensor = torch.tensor(0.001, dtype=torch.float64)
    model = Two()
    optimizer = Spy([{"params": [model.x], "lr": rate_tensor}, {"params": [model.unused], "lr": 0.00025}])
    problem = quadratic([torch.ones(())], model=model, optimizer=optimizer)
    trace = one_repeat(problem, recorder, min_lr=1e-4, max_lr=1e-1, steps=9)
    assert [first for (first, _), _ in seen] == pytest.approx(trace.lrs, rel=1e-12)
    assert [second for _, (second, _) in seen] == pytest.approx([0.25 * rate for rate in trace.lrs], rel=1e-12)
    assert {place for (_, place), _ in seen} == {id(rate_tensor)}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_stops_at_the_first_loss_that_is_not_finite(recorder, bad):
    scales = [torch.tensor(1.0)] * 5 + [torch.tensor(bad)] + [torch.tensor(1.0)] * 20
    trace = one_repeat(quadratic(scales), recorder, min_lr=1e-4, max_lr=1e-2, steps=20)
    assert (trace.stop, trace.updates, len(trace.losses)) == (Stop.NON_FINITE, 5, 5)
    assert trace.losses[-1] == bad or math.isnan(bad)
    assert all(map(math.isfinite, trace.losses[:-1]))
    assert str(bad) in trace.why


def test_a_first_loss_that_is_not_finite_spends_no_update(recorder):
    observer = recorder()
    problem = quadratic([torch.tensor(math.nan)])
    traces = run_sweep(problem, SweepSettings(repeats=2, steps=5), device=CPU, observer=observer)
    for trace in traces:
        assert (trace.stop, trace.updates, trace.losses) == (Stop.NON_FINITE, 0, ())
        assert math.isnan(trace.initial_loss)
    assert observer.points == []
    assert len(observer.setups) == 1  # what was swept is known all the same


def test_the_loss_before_any_update_is_part_of_the_start(recorder):
    scales = [torch.tensor(float(scale)) for scale in (1, 1, 1, 100, 100, 100, 100)]
    trace = one_repeat(quadratic(scales), recorder, min_lr=1e-9, max_lr=1e-8, steps=6)
    assert (trace.stop, len(trace.losses)) == (Stop.DIVERGED, 5)  # three of 1, 1, 100, 100, 100, against 1


def test_negative_losses_diverge_upwards_only(recorder):
    problem = quadratic([torch.ones(())], training_step=lambda model, batch: model(batch) - 1000)
    trace = one_repeat(problem, recorder, min_lr=1e-4, max_lr=0.2, steps=30)
    assert trace.stop is Stop.COMPLETED
    trace = one_repeat(problem, recorder, min_lr=1e-3, max_lr=100.0, steps=200)
    assert trace.stop is Stop.DIVERGED


def test_out_of_time(recorder):
    trace = one_repeat(quadratic([torch.ones(())]), recorder, steps=10**5, max_seconds=0.2)
    assert trace.stop is Stop.OUT_OF_TIME
    assert f"{trace.updates} of 100000 updates" in trace.why
    assert trace.updates == len(trace.losses)


def test_the_time_limit_is_the_whole_sweep_s(recorder):
    observer = recorder()
    settings = SweepSettings(min_lr=1e-4, max_lr=1e-2, steps=10**5, repeats=5, max_seconds=0.2)
    traces = run_sweep(quadratic([torch.ones(())]), settings, device=CPU, observer=observer)
    assert [trace.stop for trace in traces] == [Stop.OUT_OF_TIME]


def test_gradients_are_made_where_the_caller_turned_them_off(recorder):
    with torch.no_grad():
        trace = one_repeat(quadratic([torch.ones(())]), recorder, min_lr=1e-4, max_lr=1e-2, steps=5)
        assert not torch.is_grad_enabled()
    assert trace.stop is Stop.COMPLETED


def test_modes_of_a_model_in_training_stay_and_a_model_in_evaluation_is_put_into_training(recorder):
    seen = []

    def step(model, batch):
        seen.append([module.training for module in model.modules()])
        return model[0](batch).square().mean() + model[1](batch).square().mean()

    def problem(model):
        return Problem(name="modes", model=model, train_loader=[torch.ones(4, 2)], training_step=step)

    frozen = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    frozen[1].eval()
    one_repeat(problem(frozen), recorder, steps=2)
    evaluated = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).eval()
    one_repeat(problem(evaluated), recorder, steps=2)
    assert seen == [[True, True, False]] * 3 + [[True, True, True]] * 3
    assert not frozen[1].training
    assert not any(module.training for module in evaluated.modules())
