"""Numbers that aren't finite: noticed within eight updates, and told where they came from."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn.utils import get_total_norm

from helpers.advice import advice_on
from helpers.curves import sweep_of
from helpers.problems import CPU, regression
from lrfinder.advice import Request
from lrfinder.engine.losses.nonfinite import EVERY, WeightsTotal, all_finite, locate_nonfinite
from lrfinder.engine.short_runs import ShortRuns
from lrfinder.engine.sweep import run_sweep
from lrfinder.records import Metric, RunPlan, Stop, SweepSettings, UpdateOptions
from lrfinder.task.problem import Problem

BATCH = (torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), torch.zeros(8, 1))
BROKEN_AT = 5


class BrokenGradient(torch.autograd.Function):
    """The same value, and a gradient that is NaN at one call."""

    @staticmethod
    def forward(ctx, x, broken):
        ctx.broken = broken
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * (math.nan if ctx.broken else 1.0), None


class Net(nn.Module):
    """Two layers; at training call BROKEN_AT the gradient of `hidden.weight` is NaN, or that of `spare`, never used."""

    def __init__(self, *, used: bool) -> None:
        super().__init__()
        self.hidden = nn.Linear(3, 4)
        self.last = nn.Linear(4, 1)
        self.spare = nn.Parameter(torch.ones(()))
        self.used = used
        self.calls = 0

    def forward(self, x):
        self.calls += torch.is_grad_enabled()
        broken = torch.is_grad_enabled() and self.calls == BROKEN_AT
        if self.used:
            return self.last(BrokenGradient.apply(self.hidden(x), broken))
        gate = BrokenGradient.apply(self.spare, broken) if broken else self.spare.detach()
        return self.last(self.hidden(x)) + (0 * gate if broken else 0)


def problem(model, **changes) -> Problem:
    return regression(**({"model": model, "train_loader": [BATCH], "val_loader": [BATCH]} | changes))


def one(recorder, what, **settings):
    given = {"steps": 40, "repeats": 1, "min_lr": 1e-5, "max_lr": 1e-3}
    (trace,) = run_sweep(what, SweepSettings(**(given | settings)), device=CPU, observer=recorder())
    return trace


@pytest.mark.parametrize("metric", [Metric.TRAIN, Metric.VAL])
def test_a_gradient_that_is_nan_is_seen_in_the_next_loss_and_named(recorder, metric) -> None:
    trace = one(recorder, problem(lambda: Net(used=True)), metric=metric)
    assert (trace.stop, trace.updates) == (Stop.NON_FINITE, BROKEN_AT)
    assert all(map(math.isfinite, trace.losses[:-1]))
    assert math.isnan(trace.losses[-1])
    assert "the gradient of 'hidden.weight' is not finite" in trace.why


@pytest.mark.parametrize("metric", [Metric.TRAIN, Metric.VAL])
def test_a_weight_that_no_loss_shows_is_found_within_eight_updates(recorder, metric) -> None:
    trace = one(recorder, problem(lambda: Net(used=False)), metric=metric)
    assert trace.stop is Stop.NON_FINITE
    assert BROKEN_AT <= trace.updates <= BROKEN_AT + EVERY
    assert EVERY == 8
    assert all(map(math.isfinite, trace.losses))
    assert "'spare' is not finite" in trace.why


def test_a_short_run_does_the_same() -> None:
    class Silent:
        def __getattr__(self, name):
            return lambda *_: None

    ends = []
    for used in (True, False):
        with ShortRuns(problem(lambda used=used: Net(used=used)), seed=0, device=CPU, observer=Silent()) as runs:
            ends.append(runs.run(RunPlan(lr=1e-4, steps=40)))
    assert [run.stop for run in ends] == [Stop.NON_FINITE] * 2
    assert ends[0].updates == BROKEN_AT
    assert "the gradient of 'hidden.weight' is not finite" in ends[0].why
    assert ends[1].updates <= BROKEN_AT + EVERY
    assert "'spare' is not finite" in ends[1].why


def test_from_the_first_loss_or_from_the_data(recorder) -> None:
    rotten = (torch.full((8, 3), math.nan), torch.zeros(8, 1))
    first = one(recorder, problem(lambda: nn.Linear(3, 1), train_loader=[rotten]))
    assert (first.stop, first.updates) == (Stop.NON_FINITE, 0)
    assert "the weights are finite, so it comes from the loss or the data" in first.why
    later = one(recorder, problem(lambda: nn.Linear(3, 1), train_loader=[BATCH] * 7 + [rotten]))
    assert (later.stop, later.updates) == (Stop.NON_FINITE, 7)
    assert "the weights are finite, so it comes from the loss or the data" in later.why

    def made_of_nan():
        model = nn.Linear(3, 1)
        nn.init.constant_(model.bias, math.inf)
        return model

    born = one(recorder, problem(made_of_nan))
    assert "the weight 'bias' is not finite" in born.why


def test_with_accumulated_batches_the_gradients_of_the_coming_update_are_not_blamed(recorder) -> None:
    trace = one(recorder, problem(lambda: Net(used=True), training=UpdateOptions(accumulate=2)))
    assert trace.stop is Stop.NON_FINITE
    assert "the weight 'hidden.weight' is not finite" in trace.why
    assert "gradient" not in trace.why


def looks_finite(model) -> bool:
    """What an ending concludes from a glance at the weights."""
    total = WeightsTotal(model).total()
    return total is None or math.isfinite(total) or all_finite(model)


def test_a_look_at_the_weights_is_not_fooled() -> None:
    model = nn.Linear(4, 4)
    assert looks_finite(model)
    with torch.no_grad():
        model.weight.fill_(3e38)  # finite, and their sum overflows
    assert looks_finite(model)
    for bad in (math.nan, math.inf, -math.inf):
        with torch.no_grad():
            model.weight.zero_()
            model.weight[1, 2] = bad
        assert not looks_finite(model)
    half = nn.Linear(300, 300).half()
    with torch.no_grad():
        half.weight.fill_(6e4)
    assert math.isfinite(WeightsTotal(half).total())
    assert looks_finite(nn.Flatten())


@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_torch_s_norm_of_many_tensors_shows_every_number_that_is_not_finite(kind, bad) -> None:
    """A GPU's glance at the weights is this norm."""
    weights = [torch.full((3,), 6e4, dtype=kind), torch.ones(2, 2, dtype=torch.float32), torch.ones((), dtype=kind)]
    assert get_total_norm(weights, math.inf).isfinite()
    for weight in weights:
        broken = weight.clone()
        broken.view(-1)[-1] = bad
        assert not get_total_norm([broken if w is weight else w for w in weights], math.inf).isfinite()


def test_buffers_and_sparse_gradients_are_told_apart() -> None:
    norm = nn.BatchNorm1d(2)
    norm.running_var.fill_(math.inf)
    assert "the buffer 'running_var' is not" in locate_nonfinite(norm)
    table = nn.Embedding(5, 2, sparse=True)
    (table(torch.tensor([1, 1])) * math.inf).sum().backward()
    with torch.no_grad():
        table.weight[1] = math.nan
    assert locate_nonfinite(table) == "the gradient of 'weight' is not finite, and so the weight 'weight' is not"


def test_a_loss_that_grows_until_it_overflows_has_diverged_and_no_data_are_blamed(recorder) -> None:
    x = 10 * torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    batches = [(x, x.sum(1, keepdim=True))] * 4
    steep = regression(
        model=lambda: nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 1)),
        loss_fn=lambda output, target: ((output - target) ** 4).mean(),
        train_loader=batches,
    )
    trace = one(recorder, steep)
    assert not math.isfinite(trace.losses[-1])
    assert trace.stop is Stop.DIVERGED
    assert f"the loss began at {trace.initial_loss:.4g} and grew to" in trace.why
    refused = advice_on(sweep_of((trace,), SweepSettings(min_lr=1e-5, max_lr=1e-3, repeats=1)), Request(steps=100))
    assert refused.hint.startswith("sweep again with --min-lr")
    assert "data" not in refused.why


def test_weights_in_half_precision_are_told_what_they_are_too_narrow_for(recorder) -> None:
    x = torch.randn(64, 3, generator=torch.Generator().manual_seed(0)).half()
    x[:, 0] = 0  # a gradient of 0, which Adam divides by the root of its square and 1e-8
    narrow = regression(
        model=lambda: nn.Linear(3, 1).half(), optimizer=torch.optim.Adam, train_loader=[(x, x.sum(1, keepdim=True))]
    )
    trace = one(recorder, narrow)
    assert trace.stop is Stop.NON_FINITE
    assert "it is float16" in trace.why
