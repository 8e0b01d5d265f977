"""Short runs: the same start for every rate, the loss that plain torch reaches, and everything given back."""

from __future__ import annotations

import copy
import itertools
import math
import os
import signal
import statistics
import time
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from helpers.problems import CPU, Recorder, regression
from lrfinder.engine.losses.evaluation import evaluate
from lrfinder.engine.micro_batches import micro_batching_for
from lrfinder.engine.runtime.signals import signals_as_exceptions
from lrfinder.engine.short_runs import ShortRuns
from lrfinder.errors import ModelFileError
from lrfinder.records import RunPlan, Stop, SweepSettings, UpdateOptions
from lrfinder.task.problem import BuiltProblem

INPUTS = torch.randn(256, 3, generator=torch.Generator().manual_seed(0))
TARGETS = INPUTS.sum(1, keepdim=True)
STEPS = 20
PLAN = RunPlan(lr=0.05, steps=STEPS)


def net():
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 1))


def batches():
    return DataLoader(TensorDataset(INPUTS[:192], TARGETS[:192]), batch_size=16, shuffle=True)


def held_out():
    return DataLoader(TensorDataset(INPUTS[192:], TARGETS[192:]), batch_size=24)


def sgd(params, lr):
    return torch.optim.SGD(params, lr=lr, momentum=0.9)


problem = partial(
    regression, name="regression", where="model.py", model=net, train_loader=batches, val_loader=held_out, optimizer=sgd
)


def make(what, *plans, seed=0, observer=None):
    with ShortRuns(what, seed=seed, device=CPU, observer=observer or Recorder()) as short_runs:
        return [short_runs.run(plan) for plan in plans]


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_the_loss_is_the_one_that_a_loop_in_plain_torch_reaches(schedule):
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
    loader = DataLoader(TensorDataset(INPUTS[:192], TARGETS[:192]), batch_size=16)  # no order, no draws
    (run,) = make(
        problem(model=copy.deepcopy(model), train_loader=loader), RunPlan(lr=0.05, steps=STEPS, schedule=schedule)
    )

    optimizer = sgd(model.parameters(), 0.05)
    shapes = {
        "linear": lambda t: (STEPS - t) / (STEPS - 1),
        "constant": lambda t: 1.0,
        "cosine": lambda t: (1 + torch.cos(torch.tensor(torch.pi * (t - 1) / (STEPS - 1))).item()) / 2,
    }
    factor = lambda t: 1.0 if t == 0 else shapes[schedule](t)  # noqa: E731 - one update of warm-up, at the peak
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    with torch.no_grad():
        initial = nn.functional.mse_loss(model(INPUTS[192:]), TARGETS[192:]).item()
    stream = [batch for _ in range(3) for batch in loader]
    for x, y in stream[:STEPS]:
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()
        scheduler.step()
    with torch.no_grad():
        final = nn.functional.mse_loss(model(INPUTS[192:]), TARGETS[192:]).item()
    assert run.initial_loss == pytest.approx(initial, rel=1e-5)
    assert run.loss == pytest.approx(final, rel=1e-4)
    assert (run.stop, run.updates, run.metric) == (Stop.COMPLETED, STEPS, "val")


@pytest.mark.parametrize("live", [True, False], ids=["live", "callables"])
def test_every_run_starts_from_the_same_bits_whatever_ran_before(live):
    model = net()
    what = problem(model=model, optimizer=sgd(model.parameters(), 0.1), train_loader=batches()) if live else problem()
    other = RunPlan(lr=0.5, steps=STEPS)
    alone = make(what, PLAN)
    after = make(what, other, PLAN, other, PLAN)
    assert after[1] == after[3] == alone[0]
    assert after[0] == after[2] != alone[0]
    assert make(what, RunPlan(lr=0.05, steps=STEPS, repeat=1))[0].loss != alone[0].loss
    assert make(what, PLAN, seed=1)[0].loss != alone[0].loss


def test_live_objects_and_generators_come_back_bit_for_bit_with_their_history():
    model = net()
    optimizer = sgd(model.parameters(), 0.1)
    nn.functional.mse_loss(model(INPUTS[:8]), TARGETS[:8]).backward()
    optimizer.step()  # a momentum that a run must start from, and come back to
    loader = DataLoader(
        TensorDataset(INPUTS, TARGETS), batch_size=16, shuffle=True, generator=torch.Generator().manual_seed(5)
    )
    before = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    generators = torch.get_rng_state(), loader.generator.get_state()
    model.eval()
    make(problem(model=model, optimizer=optimizer, train_loader=loader), PLAN, RunPlan(lr=1.0, steps=STEPS))
    assert not any(module.training for module in model.modules())
    for ours, theirs in zip(before, (model.state_dict(), optimizer.state_dict()), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert torch.equal(generators[0], torch.get_rng_state())
    assert torch.equal(generators[1], loader.generator.get_state())


def test_without_held_out_data_batches_are_set_aside_and_never_trained_on():
    seen = []

    def record(batch):
        seen.append(batch)
        return torch.utils.data.default_collate(batch)

    loader = DataLoader(TensorDataset(INPUTS, torch.arange(1000.0, 1256.0)[:, None]), batch_size=8, collate_fn=record)
    model = nn.Linear(3, 1)
    (run,) = make(
        problem(model=model, train_loader=loader, val_loader=None, optimizer=sgd(model.parameters(), 1e-6)),
        RunPlan(lr=1e-6, steps=STEPS),
    )
    assert run.metric == "probe"
    kept = [int(target) for batch in seen[:4] for _, target in batch]
    trained = [int(target) for batch in seen[4 : 4 + STEPS] for _, target in batch]
    assert kept == list(range(1000, 1032))
    assert not set(kept) & set(trained)
    with torch.no_grad():
        by_hand = nn.functional.mse_loss(model(INPUTS[:32]), torch.arange(1000.0, 1032.0)[:, None]).item()
    assert run.initial_loss == pytest.approx(by_hand, rel=1e-6)


@pytest.mark.parametrize(("size", "batches"), [(1, 32), (2, 16), (5, 7), (8, 4)])
@pytest.mark.parametrize("cached", [None, 5])
def test_of_tiny_batches_more_are_set_aside(size: int, batches: int, cached: int | None):
    model, judged = nn.Linear(3, 1), []

    def loss(output, target):
        if not torch.is_grad_enabled():
            judged.append(target.flatten().tolist())
        return nn.functional.mse_loss(output, target)

    loader = DataLoader(TensorDataset(INPUTS, torch.arange(256.0)[:, None]), batch_size=size)
    what = problem(
        model=model, train_loader=loader, val_loader=None, optimizer=sgd(model.parameters(), 1e-6), loss_fn=loss
    )
    settings = None if cached is None else SweepSettings(cache_batches=cached)
    with ShortRuns(
        what, seed=0, device=CPU, observer=Recorder(), batching=micro_batching_for(what, settings, CPU)
    ) as runs:
        runs.run(RunPlan(lr=1e-6, steps=STEPS))
    first = (cached or 0) * size  # the cache takes those to train on first
    expected = [list(range(start, start + size)) for start in range(first, first + batches * size, size)]
    assert judged[:batches] == judged[-batches:] == expected  # before the run and after it


def test_not_more_are_set_aside_than_a_pass_gives_nor_where_samples_cant_be_counted():
    for data, expected in (([torch.ones(1, 3)] * 6, 6), ([torch.ones(1, 3)] * 2, 4), ([None] * 99, 4)):
        judged = []

        def step(model, batch, judged=judged):
            judged.extend([batch] * (not torch.is_grad_enabled()))
            return model(torch.ones(1, 3) if batch is None else batch).mean()

        what = problem(
            model=lambda: nn.Linear(3, 1), train_loader=data, val_loader=None, loss_fn=None, training_step=step
        )
        make(what, RunPlan(lr=1e-3, steps=STEPS))
        assert len(judged) == 2 * expected


def test_a_step_that_skips_every_third_call_is_judged_by_the_same_batches_each_time():
    calls = itertools.count(1)
    rows = [torch.full((1, 1), float(index)) for index in range(64)]  # the loss of each is another

    def step(model, batch):
        return None if next(calls) % 3 == 0 else (model.weight * 0 + batch).mean()

    what = problem(
        model=lambda: nn.Linear(1, 1), train_loader=rows, val_loader=lambda: rows, loss_fn=None, training_step=step
    )
    for run in make(what, *[RunPlan(lr=0.01, steps=steps) for steps in (11, 12, 13)]):
        judged = max(10, run.plan.steps)
        assert run.initial_loss == run.loss == statistics.mean(range(judged))


def test_a_rate_far_too_high_diverges_and_is_a_result():
    wild = problem(model=lambda: nn.Linear(3, 1))
    (run,) = make(wild, RunPlan(lr=1e4, steps=STEPS))
    assert run.stop in (Stop.DIVERGED, Stop.NON_FINITE)
    assert run.loss is None
    assert 0 < run.updates < STEPS
    assert run.why


def test_a_loss_that_is_no_number_names_the_updates_before_it():
    calls = itertools.count()

    def failing(output, target):
        loss = nn.functional.mse_loss(output, target)
        return loss * float("nan") if next(calls) == 1 + 7 else loss  # the first call judges the held-out data

    (run,) = make(problem(loss_fn=failing, val_loader=[(INPUTS[:8], TARGETS[:8])]), PLAN)
    assert (run.stop, run.updates, run.loss) == (Stop.NON_FINITE, 7, None)
    assert run.why.startswith("the loss is nan after 7 updates")


def test_a_held_out_loss_that_is_no_number_is_a_result():
    calls = itertools.count()

    def failing(output, target):
        loss = nn.functional.mse_loss(output, target)
        return loss * float("inf") if next(calls) == 1 + STEPS else loss

    (run,) = make(problem(loss_fn=failing, val_loader=[(INPUTS[:8], TARGETS[:8])]), PLAN)
    assert (run.stop, run.updates, run.loss) == (Stop.NON_FINITE, STEPS, None)
    assert run.why == f"the held-out loss is inf after {STEPS} updates"
    (run,) = make(problem(loss_fn=lambda output, _: output.sum() * float("nan")), PLAN)
    assert (run.stop, run.updates, run.initial_loss) == (Stop.NON_FINITE, 0, None)
    assert run.why.startswith("the loss of the first batch, before any update, is nan: the weights are finite")


@pytest.mark.parametrize("taken", [1, 2])
def test_repeats_never_share_the_epochs_of_a_sampler(taken):
    """A sampler that is told the epoch derives its order from it alone."""

    class Told(torch.utils.data.SequentialSampler):
        epochs: list[int]

        def set_epoch(self, epoch):
            self.epochs.append(epoch)

    told = {}
    for repeat in range(3):
        sampler = Told(INPUTS[:8])
        sampler.epochs = told[repeat] = []
        loader = DataLoader(TensorDataset(INPUTS[:8], TARGETS[:8]), batch_size=8, sampler=sampler)
        training = UpdateOptions(accumulate=taken)
        what = problem(train_loader=loader, val_loader=None, training=training)
        make(what, RunPlan(lr=1e-3, steps=5, repeat=repeat))
    assert all(isinstance(epoch, int) for epochs in told.values() for epoch in epochs)
    counts = [epoch for epochs in told.values() for epoch in epochs]
    assert len(counts) == len(set(counts))
    assert len(counts) >= 3 * (5 * taken + 4)


def test_an_exception_passes_and_everything_comes_back():
    model = net()
    before = copy.deepcopy(model.state_dict())
    calls = []

    def failing(output, target):
        calls.append(1)
        if len(calls) > 12:
            raise ValueError("twelve are enough")
        return nn.functional.mse_loss(output, target)

    observer = Recorder()
    with pytest.raises(ValueError, match="twelve"):
        make(problem(model=model, loss_fn=failing), PLAN, observer=observer)
    torch.testing.assert_close(before, model.state_dict(), rtol=0, atol=0)
    assert observer.runs[-1].stop is Stop.FAILED
    assert "twelve" in observer.runs[-1].why


@pytest.mark.parametrize(("number", "stop"), [(signal.SIGINT, Stop.INTERRUPTED), (signal.SIGTERM, Stop.TERMINATED)])
def test_a_signal_ends_the_run_and_is_a_result(number, stop):
    model = net()
    before = copy.deepcopy(model.state_dict())
    calls = []

    def signalling(output, target):
        calls.append(1)
        if len(calls) == 12:
            os.kill(os.getpid(), number)
        return nn.functional.mse_loss(output, target)

    with signals_as_exceptions():
        (run,) = make(problem(model=model, loss_fn=signalling), PLAN)
    assert (run.stop, run.why) == (stop, "the run was cut short")
    assert run.loss is None
    assert 0 < run.updates < STEPS
    torch.testing.assert_close(before, model.state_dict(), rtol=0, atol=0)


def test_the_time_limit_ends_it():
    with ShortRuns(problem(), seed=0, device=CPU, observer=Recorder(), deadline=time.monotonic()) as short_runs:
        run = short_runs.run(PLAN)
    assert (run.stop, run.why) == (Stop.OUT_OF_TIME, "the time limit was reached after 0 updates")


def test_an_iterator_that_ends_ends_the_run():
    data = ((INPUTS[i : i + 8], TARGETS[i : i + 8]) for i in range(0, 72, 8))
    (run,) = make(problem(train_loader=data), PLAN)
    assert (run.stop, run.updates, run.loss) == (Stop.OUT_OF_DATA, 9, None)
    assert run.why == "train_loader ran out after 9 updates and can't be started again"


def test_the_observer_hears_of_every_update_and_of_the_setup_once():
    observer = Recorder()
    plans = (PLAN, RunPlan(lr=0.1, steps=STEPS))
    runs = make(problem(), *plans, observer=observer)
    assert observer.runs == runs
    assert len(observer.losses) == STEPS
    assert observer.updates == [(plan, number) for plan in plans for number in range(1, STEPS + 1)]
    assert len(observer.setups) == 1


def test_an_empty_val_loader_is_the_model_files_fault():
    with pytest.raises(ModelFileError, match="val_loader gave no batch"):
        make(problem(val_loader=list), PLAN)


def test_the_held_out_loss_is_weighted_by_samples_in_evaluation_mode_and_leaves_no_trace():
    model = net().train()
    model[1].eval()  # a frozen layer
    trial = trial_of(model, _mse)
    state, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    sizes = (7, 24, 3)
    parts = torch.split(INPUTS[:34], sizes), torch.split(TARGETS[:34], sizes)
    found = evaluate(trial, list(zip(*parts, strict=True)), device=CPU, seed=3)
    assert torch.equal(random, torch.get_rng_state())
    assert [module.training for module in model] == [True, False, True, True, True]
    torch.testing.assert_close(state, model.state_dict(), rtol=0, atol=0)
    model.eval()
    with torch.no_grad():
        assert found == pytest.approx(nn.functional.mse_loss(model(INPUTS[:34]), TARGETS[:34]).item(), rel=1e-5)


class Named(dict):
    pass


@pytest.mark.parametrize(
    "wrap",
    [
        lambda x: x,
        lambda x: {"name": "text", "x": x},
        lambda x: ["text", {"deep": [x]}],
        lambda x: (x, torch.zeros(99)),
        lambda x: SimpleNamespace(name="text", x=x),
        lambda x: SimpleNamespace(more={"x": (x,)}),
        lambda x: Named(x=x),
    ],
    ids=["tensor", "dict", "nested", "tuple", "object", "object of a dict", "mapping"],
)
def test_however_a_batch_is_built_its_samples_weigh_it(wrap):
    model = nn.Linear(1, 1)
    sizes, values = (1, 5, 2), (10.0, 20.0, 40.0)
    batches = [wrap(torch.full((size,), value)) for size, value in zip(sizes, values, strict=True)]
    seen = iter(values)
    trial = trial_of(model, lambda net, batch: torch.tensor(next(seen)))
    assert evaluate(trial, batches, device=CPU, seed=0) == pytest.approx((10 + 5 * 20 + 2 * 40) / 8)


def test_a_batch_without_a_number_of_samples_counts_as_one():
    seen = iter((10.0, 20.0))
    trial = trial_of(nn.Linear(1, 1), lambda net, batch: torch.tensor(next(seen)))
    batches = ["text", torch.tensor(3.0)]
    assert evaluate(trial, batches, device=CPU, seed=0) == pytest.approx(15.0)
    assert math.isnan(evaluate(trial, [], device=CPU, seed=0))


def test_draws_in_the_loss_are_the_same_at_every_evaluation():
    model = nn.Linear(3, 1)

    def noisy(net, batch):
        return _mse(net, batch) + torch.rand(())

    trial = trial_of(model, noisy)
    data = [(INPUTS[:8], TARGETS[:8])]
    assert len({evaluate(trial, data, device=CPU, seed=seed) for seed in (1, 1, 1)}) == 1
    assert evaluate(trial, data, device=CPU, seed=1) != evaluate(trial, data, device=CPU, seed=2)


def _mse(model, batch):
    inputs, targets = batch
    return nn.functional.mse_loss(model(inputs), targets)


def trial_of(model, loss):
    return BuiltProblem(
        model=model,
        optimizer=sgd(model.parameters(), 0.1),
        group_ratios=(1.0,),
        loader=(),
        loss=loss,
        loss_note=lambda: "",
        optimizer_note="model file",
    )
