"""The metric of a continuous sweep: closed forms, a bare loop in plain torch, the same data at every rate."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from helpers.problems import CPU
from lrfinder.api.sweeping.measure import measure
from lrfinder.engine.sweep import run_sweep
from lrfinder.errors import ModelFileError
from lrfinder.records import Metric, Mode, Stop, SweepSettings
from lrfinder.task.problem import Problem

INPUTS = torch.randn(96, 3, generator=torch.Generator().manual_seed(0))
TARGETS = INPUTS.sum(1, keepdim=True)


class Scaled(nn.Module):
    """loss = 0.5 * batch * x ** 2: SGD on batch b at rate r multiplies x by 1 - r * b."""

    def __init__(self) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor(3.0, dtype=torch.float64))

    def forward(self, batch):
        return 0.5 * batch * self.x**2


def scaled(train, **changes) -> Problem:
    given = {
        "name": "scaled",
        "where": "model.py",
        "model": Scaled,
        "train_loader": [torch.tensor(float(value)) for value in train],
        "training_step": lambda model, batch: model(batch),
        "optimizer": lambda params, lr: torch.optim.SGD(params, lr=lr),
    }
    return Problem(**(given | changes))


def one(problem, recorder, **settings):
    given = {"repeats": 1, "min_lr": 1e-3, "max_lr": 0.1, "steps": 12}
    (trace,) = run_sweep(problem, SweepSettings(**(given | settings)), device=CPU, observer=recorder())
    return trace


def test_the_probe_is_set_aside_and_each_loss_is_that_after_its_rate(recorder) -> None:
    trace = one(scaled([5, *range(1, 20)]), recorder, metric=Metric.PROBE)
    x, expected = 3.0, []
    for rate, batch in zip(trace.lrs, itertools.count(1), strict=False):
        x *= 1 - rate * batch
        expected.append(0.5 * 5 * x * x)
    assert trace.initial_loss == 22.5
    assert trace.losses == pytest.approx(expected, rel=1e-12)
    assert (trace.stop, trace.updates) == (Stop.COMPLETED, 12)


def test_the_validation_loss_is_the_mean_of_the_first_ten_batches(recorder) -> None:
    validation = [torch.tensor(float(value)) for value in range(100)]
    trace = one(scaled([1], val_loader=validation), recorder, metric=Metric.VAL)
    x, expected = 3.0, []
    for rate in trace.lrs:
        x *= 1 - rate
        expected.append(0.5 * 4.5 * x * x)
    assert trace.initial_loss == pytest.approx(0.5 * 4.5 * 9)
    assert trace.losses == pytest.approx(expected, rel=1e-12)


def noisy_net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 1))


def regression(**changes) -> Problem:
    given = {
        "name": "regression",
        "model": noisy_net,
        "train_loader": lambda: DataLoader(TensorDataset(INPUTS[:64], TARGETS[:64]), batch_size=8, shuffle=True),
        "val_loader": lambda: DataLoader(TensorDataset(INPUTS[64:], TARGETS[64:]), batch_size=8),
        "loss_fn": nn.functional.mse_loss,
        "optimizer": lambda params, lr: torch.optim.SGD(params, lr=lr),
    }
    return Problem(**(given | changes))


def test_the_same_numbers_as_a_bare_loop_that_validates_in_evaluation_mode(recorder) -> None:
    trace = one(regression(), recorder, metric=Metric.VAL, steps=15, seed=5)

    torch.manual_seed(trace.seed)
    model = noisy_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    loader = regression().train_loader
    batches = itertools.chain.from_iterable(loader() for _ in itertools.count())

    def validate() -> float:
        model.eval()
        with torch.no_grad():
            loss = nn.functional.mse_loss(model(INPUTS[64:]), TARGETS[64:]).item()
        model.train()
        return loss

    assert trace.initial_loss == pytest.approx(validate(), rel=1e-6)
    losses = []
    for rate in trace.lrs:
        x, y = next(batches)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()
        losses.append(validate())
    assert trace.losses == pytest.approx(losses, rel=1e-5)


@pytest.mark.parametrize("metric", [Metric.PROBE, Metric.VAL])
def test_nothing_is_left_behind_and_the_draws_are_the_same_at_every_rate(recorder, metric) -> None:
    draws: list[float] = []

    def step(model, batch):
        if not model.training:
            draws.append(torch.rand(()).item())
        return nn.functional.mse_loss(model(batch[0]), batch[1])

    model = noisy_net()
    model[1].eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = torch.get_rng_state()
    shuffled = DataLoader(
        TensorDataset(INPUTS[64:], TARGETS[64:]), batch_size=32, shuffle=True, generator=torch.Generator()
    )
    kept = shuffled.generator.get_state()
    problem = regression(model=model, loss_fn=None, training_step=step, val_loader=shuffled)
    traces = run_sweep(
        problem, SweepSettings(steps=6, repeats=2, max_lr=1e-2, metric=metric), device=CPU, observer=recorder()
    )
    assert len(draws) == 14
    assert (len(set(draws[:7])), len(set(draws[7:]))) == (1, 1)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(shuffled.generator.get_state(), kept)
    assert [module.training for module in model.modules()] == [True, True, False, True, True]
    assert len({trace.initial_loss for trace in traces}) == (2 if metric is Metric.PROBE else 1)  # other batches


def test_the_same_seed_gives_the_same_bits(recorder) -> None:
    def sweep():
        torch.seed()
        settings = SweepSettings(steps=8, repeats=2, metric=Metric.PROBE)
        return run_sweep(regression(), settings, device=CPU, observer=recorder())

    assert sweep() == sweep()


def test_a_training_loss_that_is_not_finite_ends_it_before_an_update_by_it(recorder) -> None:
    trace = one(scaled([1, 1, 1, 1, math.nan, 1], model=Scaled), recorder, metric=Metric.PROBE)
    assert (trace.stop, trace.updates, len(trace.losses)) == (Stop.NON_FINITE, 3, 3)
    assert all(map(math.isfinite, trace.losses))
    assert "training loss is nan" in trace.why


def test_a_held_out_loss_that_is_not_finite_or_diverges_ends_it(recorder) -> None:
    broken = scaled([1], val_loader=[torch.tensor(math.inf)])
    first = one(broken, recorder, metric=Metric.VAL)
    assert (first.stop, first.updates, first.losses) == (Stop.NON_FINITE, 0, ())
    blown = one(scaled([1], val_loader=[torch.ones(())]), recorder, metric=Metric.VAL, max_lr=100.0, steps=200)
    assert blown.stop is Stop.DIVERGED
    assert blown.lrs[-1] > 2


def test_a_live_loader_that_runs_dry(recorder) -> None:
    problem = scaled([], train_loader=iter([torch.ones(())] * 8))
    settings = SweepSettings(steps=6, repeats=3, max_lr=0.1, metric=Metric.PROBE)
    traces = run_sweep(problem, settings, device=CPU, observer=recorder())
    assert [(trace.stop, trace.updates) for trace in traces] == [(Stop.COMPLETED, 6), (Stop.OUT_OF_DATA, 0)]


@pytest.mark.parametrize("mode", list(Mode))
def test_the_validation_loss_without_a_val_loader_is_refused_before_anything(mode) -> None:
    def train_loader():
        raise AssertionError("nothing may be built")

    problem = regression(val_loader=None, train_loader=train_loader, where="model.py")
    with pytest.raises(ModelFileError, match=r"model\.py has no val_loader") as raised:
        measure(problem, SweepSettings(metric=Metric.VAL, mode=mode), device="cpu")
    assert "--metric probe" in raised.value.hint


def test_validation_batches_that_are_shuffled_by_torch_s_own_generator_are_those_of_the_seed(recorder) -> None:
    shuffled = lambda: DataLoader(TensorDataset(torch.arange(64.0)), batch_size=2, shuffle=True)  # noqa: E731

    def seen(seed: int) -> list[float]:
        judged: list[float] = []

        def step(model, batch):
            (values,) = batch
            if not model.training:
                judged.append(values[0].item())
            return values.mean() * model.x**2

        torch.seed()
        state = torch.get_rng_state()
        what = scaled([], train_loader=[[torch.ones(2)]], val_loader=shuffled, training_step=step)
        settings = SweepSettings(steps=2, repeats=2, min_lr=1e-6, max_lr=1e-5, metric=Metric.VAL, seed=seed)
        run_sweep(what, settings, device=CPU, observer=recorder())
        assert torch.equal(torch.get_rng_state(), state)
        assert judged == judged[:10] * 6, "ten batches, before and after each of two updates of two repeats"
        return judged[:10]

    first, again, other = seen(1), seen(1), seen(2)
    assert first == again != other
    assert len(set(first)) == 10
