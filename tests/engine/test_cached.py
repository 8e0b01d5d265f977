"""Batches that are drawn once: the same data for every repeat and rate, whatever the loader and the training do."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import lrfinder
import lrfinder.engine.losses.readback
from helpers.advice import advice_on
from helpers.problems import CPU
from lrfinder.advice import Request
from lrfinder.engine.data.cache import BatchCache
from lrfinder.errors import UsageError
from lrfinder.records import Metric, Mode, Stop, SweepSettings
from lrfinder.report.figure import subtitle
from lrfinder.store import load_run
from lrfinder.task.problem import Problem

INPUTS = torch.randn(96, 3, generator=torch.Generator().manual_seed(0))
TARGETS = INPUTS.sum(1, keepdim=True)


class Noted:
    """A training step that notes the first number of each batch, whether it trains, and spoils what it was given."""

    def __init__(self) -> None:
        self.trained: list[float] = []
        self.judged: list[float] = []

    def __call__(self, model: nn.Module, batch) -> torch.Tensor:
        x, y = batch
        (self.trained if torch.is_grad_enabled() else self.judged).append(x[0, 0].item())
        x.add_(1)
        return nn.functional.mse_loss(model(x), y)


def sweep(**changes) -> lrfinder.api.result.Sweep:
    given = {
        "model": lambda: nn.Linear(3, 1),
        "train_loader": lambda: DataLoader(TensorDataset(INPUTS.clone(), TARGETS), batch_size=8, shuffle=True),
        "loss_fn": nn.functional.mse_loss,
        "optimizer": lambda params, lr: torch.optim.SGD(params, lr=lr),
        "cache_batches": 3,
        "steps": 7,
        "repeats": 2,
        "run_steps": 10,
        "device": "cpu",
    }
    return lrfinder.sweep(**(given | changes))


def is_cycle(seen: list[float], length: int) -> bool:
    return seen == list(itertools.islice(itertools.cycle(seen[:length]), len(seen)))


def test_repeats_and_short_runs_train_on_the_same_batches_in_turn(monkeypatch) -> None:
    monkeypatch.setattr(lrfinder.engine.losses.readback, "BATCHING_S", 0.0)  # no update in vain after a divergence
    step = Noted()
    result = sweep(loss_fn=None, training_step=step, min_lr=1e-4, max_lr=1.0)
    assert result.runs
    assert len(set(step.trained)) == 3
    assert is_cycle(step.trained[:8], 3)  # the first repeat: seven updates and the loss after the last
    assert step.trained[8:16] == step.trained[:8]
    seen = iter(step.trained[16:])
    for run in result.runs:  # one that diverged has computed one more loss than it made updates
        losses = list(itertools.islice(seen, run.updates + (run.stop is Stop.DIVERGED)))
        assert losses == list(itertools.islice(itertools.cycle(step.trained[:3]), len(losses)))
    assert list(seen) == []
    assert len(set(step.judged)) == 4
    assert not set(step.judged) & set(step.trained), "what judges is set aside"
    assert result.setup.cached_batches == 3
    assert result.settings.cache_batches == 3
    assert {run.plan.batches for run in result.runs} == {3}


def test_one_batch_is_the_closed_form_without_noise() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.x = nn.Parameter(torch.tensor(3.0, dtype=torch.float64))

    result = sweep(
        model=Scaled,
        train_loader=lambda: (torch.tensor(float(i)) for i in itertools.count(2)),
        loss_fn=None,
        training_step=lambda model, batch: 0.5 * batch * model.x**2,
        cache_batches=1,
        mode="continuous",
        min_lr=1e-3,
        max_lr=0.3,
    )
    for trace in result.traces:
        x, expected = 3.0, []
        for rate in trace.lrs:
            x *= 1 - 2 * rate
            expected.append(x * x)
        assert trace.losses == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("metric", list(Metric))
def test_repeats_differ_by_their_weights_alone(metric) -> None:
    live = sweep(
        model=nn.Linear(3, 1), mode="continuous", metric=metric, val_loader=[(INPUTS, TARGETS)], max_lr=0.1, repeats=3
    )
    assert len({(trace.initial_loss, trace.losses) for trace in live.traces}) == 1
    made = sweep(mode="continuous", metric=metric, val_loader=[(INPUTS, TARGETS)], max_lr=0.1)
    assert made.traces[0].initial_loss != made.traces[1].initial_loss


def test_dropout_draws_anew_in_every_repeat_and_the_same_for_the_same_seed() -> None:
    def once():
        torch.seed()
        return sweep(
            model=nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1)).requires_grad_(requires_grad=True),
            mode="continuous",
        )

    torch.manual_seed(0)
    first = sweep(model=nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1)), mode="continuous")
    torch.manual_seed(0)
    again = sweep(model=nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1)), mode="continuous")
    assert first.traces == again.traces
    assert first.traces[0].losses != first.traces[1].losses
    assert once().traces[0].losses


def test_a_live_generator_is_enough_for_every_repeat_and_short_run() -> None:
    batches = ((INPUTS[i : i + 8], TARGETS[i : i + 8]) for i in range(0, 96, 8))
    result = sweep(train_loader=batches, min_lr=1e-4, max_lr=1.0)
    assert len(result.traces) == 2
    assert result.runs
    assert all(trace.updates for trace in result.traces)
    assert len(list(batches)) == 12 - 3 - 4, "no more was taken than trains and judges"


def test_a_loader_with_fewer_batches_than_asked_for() -> None:
    class Stream(IterableDataset):
        rows = iter([(INPUTS[:8], TARGETS[:8]), (INPUTS[8:16], TARGETS[8:16])])

        def __iter__(self):
            return iter(self.rows)

    result = sweep(train_loader=DataLoader(Stream(), batch_size=None), cache_batches=9, max_lr=0.1)
    assert result.setup.cached_batches == 2
    assert len(result.traces[1].losses) == 7


def test_what_takes_too_much_memory_is_refused() -> None:
    cache = BatchCache(3, held_out=0, device=CPU, most_bytes=1000)
    with pytest.raises(UsageError, match=r"^3 batches can't be kept: 3 take more than 9\.31e-07 GiB$") as raised:
        cache.fill(iter([torch.zeros(100)] * 9), lambda _: 0)
    assert raised.value.hint == "keep fewer: --cache-batches N (cache_batches=N)"
    assert not cache.filled
    whole = BatchCache(2, held_out=0, device=CPU, most_bytes=800)
    whole.fill(iter([torch.zeros(100)] * 9), lambda _: 0)
    assert len(whole) == 2


@pytest.mark.parametrize("number", [0, -2])
def test_a_number_that_can_t_be_meant(number) -> None:
    with pytest.raises(UsageError, match="cache_batches must be from 1 to 1000000"):
        sweep(cache_batches=number)


def test_the_label_goes_into_the_folder_the_picture_and_the_advice(tmp_path: Path) -> None:
    result = sweep(out=tmp_path / "run", steps=60, min_lr=1e-5, max_lr=10.0)
    stored = load_run(tmp_path / "run")
    assert stored.setup.cached_batches == 3
    assert {run.plan.batches for run in stored.runs} == {3}
    assert "on 3 cached batches" in subtitle(stored)
    advice = advice_on(result, Request(steps=100))
    assert advice.lr is not None
    assert "measured on 3 cached batches" in advice.why
    assert advice.status != "confident"


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_small_batches_are_kept_on_the_gpu() -> None:
    cuda = torch.device("cuda")
    cache = BatchCache(2, held_out=1, device=cuda)
    cache.fill(iter([(INPUTS, {"y": TARGETS})] * 5), lambda _: 0)
    x, named = next(cache.training())
    assert x.is_cuda
    assert named["y"].is_cuda
    x.zero_()
    assert torch.equal(next(cache.training())[0].cpu(), INPUTS)
    assert cache.held_out()[0][0].is_cuda


def test_problem_defaults_train_on_all_that_comes(recorder) -> None:
    from lrfinder.engine.sweep import run_sweep

    problem = Problem(name="p", model=lambda: nn.Linear(3, 1), train_loader=[(INPUTS, TARGETS)])
    observer = recorder()
    run_sweep(problem, SweepSettings(steps=3, repeats=1, mode=Mode.CONTINUOUS), device=CPU, observer=observer)
    assert observer.setups[0].cached_batches is None
    assert math.isfinite(observer.traces[0].losses[0])
