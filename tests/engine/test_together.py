"""Several short runs at once say what they say one by one."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import time

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lrfinder.engine import short_runs, together
from lrfinder.engine.observer import Observer
from lrfinder.engine.readout import Late
from lrfinder.engine.short_runs import ShortRuns
from lrfinder.engine.together import CHECKED, ManyShortRuns
from lrfinder.records import RunPlan, Stop
from lrfinder.task.problem import Problem

CPU = torch.device("cpu")
STEPS = 30
PLANS = [RunPlan(lr=lr, steps=STEPS, schedule=name) for lr in (1e-4, 0.01, 0.1) for name in ("linear", "cosine")]
PLANS += [RunPlan(lr=0.5, steps=STEPS), RunPlan(lr=1e20, steps=STEPS)]


class Recorder(Observer):
    def __init__(self):
        self.told = []

    def run_started(self, plan):
        self.told.append(plan)

    def run_ended(self, run):
        self.told.append(run)


class Counting(nn.Sequential):
    """A net with a normalisation and a dropout, which counts how often it is called to train."""

    calls = 0

    def __init__(self):
        super().__init__(nn.Linear(3, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 1))

    def forward(self, inputs):
        Counting.calls += self.training
        return super().forward(inputs)


def batches():
    draw = torch.Generator().manual_seed(1)
    inputs = torch.randn(128, 3, generator=draw)
    return DataLoader(TensorDataset(inputs, inputs @ torch.randn(3, 1, generator=draw)), batch_size=16, shuffle=True)


def problem(**changes):
    given = {
        "name": "regression",
        "model": Counting,
        "train_loader": batches,
        "loss_fn": nn.functional.mse_loss,
        "optimizer": lambda params, lr: torch.optim.SGD(params, lr=lr, momentum=0.9),
    }
    return Problem(**(given | changes))


def one_by_one(what, plans=PLANS):
    with ShortRuns(what, seed=3, device=CPU, observer=Recorder()) as runs:
        return [runs.run(plan) for plan in plans]


def at_once(what, plans=PLANS, observer=None):
    with ManyShortRuns(what, seed=3, device=CPU, observer=observer or Recorder()) as runs:
        return list(runs.run_all(plans))


def set_clock(monkeypatch, clock, kind="cpu"):
    """Have stacks on a CPU judged as those of `kind` are, by another clock."""
    monkeypatch.setitem(together.KINDS, "cpu", dataclasses.replace(together.KINDS[kind], clock=clock))


@pytest.fixture
def free(monkeypatch):
    """A processor that takes no time, so that a stack is never slower; gives the number of training calls."""
    set_clock(monkeypatch, lambda: 0.0)
    Counting.calls = 0
    return lambda: Counting.calls


@pytest.mark.parametrize("batches_of_a_run", [None, 4])
def test_the_runs_are_those_that_are_made_one_by_one(free, batches_of_a_run):
    plans = [RunPlan(lr=p.lr, steps=STEPS, schedule=p.schedule, batches=batches_of_a_run) for p in PLANS]
    expected = one_by_one(problem(), plans)
    calls = free()
    observer = Recorder()
    made = at_once(problem(), plans, observer)
    assert free() - calls == 2 * STEPS  # the first run, and one call an update for all others
    assert observer.told == [one for run in made for one in (run.plan, run)]
    assert [run.plan for run in made] == plans
    for one, other in zip(expected, made, strict=True):
        assert (other.stop, other.updates, other.metric, other.seed) == (one.stop, one.updates, one.metric, one.seed)
        assert other.initial_loss == one.initial_loss
        assert one.why.startswith(other.why)  # one by one it says which weight or buffer is not finite, too
        assert bool(one.why) == bool(other.why)
        assert other.loss == (None if one.loss is None else pytest.approx(one.loss, rel=1e-5))
    assert {run.stop for run in made} >= {Stop.COMPLETED, Stop.DIVERGED}


class Read(torch.utils.data.Dataset):
    """The training data, which counts the samples that are read; on the class, since its own state is put back."""

    count = 0

    def __init__(self):
        Read.count = 0
        self.data = batches().dataset

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        Read.count += 1
        return self.data[index]


@pytest.mark.parametrize("runs", [4, 8])
def test_those_that_train_at_once_read_the_data_once(free, runs):
    def read(make, plans):
        data = Read()
        make(problem(train_loader=lambda: DataLoader(data, batch_size=16, shuffle=True)), plans)
        return Read.count

    plans = [RunPlan(lr=0.001 * (1 + number), steps=STEPS) for number in range(runs)]
    alone = read(one_by_one, plans[:1])
    assert alone >= 16 * STEPS
    assert read(one_by_one, plans) == runs * alone
    assert read(at_once, plans) == 2 * alone  # the first by itself, and once for all the others


def number(model, batch):
    loss = nn.functional.mse_loss(model(batch[0]), batch[1])
    return loss * 2 if loss.item() > 1e9 else loss


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.head = nn.GRU(1, 4, batch_first=True), nn.Linear(4, 1)

    def forward(self, inputs):
        return self.head(self.cell(inputs[..., None])[0][:, -1])


class Remembering(nn.Linear):
    """Assigns a buffer anew in each pass, which a mapped call doesn't see: only the losses can tell."""

    def __init__(self):
        super().__init__(3, 1)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, inputs):
        self.seen = self.seen + 1
        return super().forward(inputs) * self.seen


ODD = {
    "asks for a number": {"loss_fn": None, "training_step": number},
    "a layer that can't be mapped": {"model": Recurrent},
    "a buffer that is assigned": {"model": Remembering},
    "an unknown optimizer": {"optimizer": lambda params, lr: torch.optim.RMSprop(params, lr=lr)},
}


@pytest.mark.parametrize("changes", ODD.values(), ids=ODD)
def test_what_can_not_be_stacked_runs_one_by_one_with_the_same_bits(free, changes):
    plans = [RunPlan(lr=lr, steps=10) for lr in (1e-3, 1e-2, 3e-2, 0.1)]
    assert at_once(problem(**changes), plans) == one_by_one(problem(**changes), plans)


def test_a_stack_that_is_slower_is_given_up(monkeypatch):
    clock = itertools.count()
    set_clock(monkeypatch, lambda: 1.5 ** next(clock))  # every update takes longer
    Counting.calls = 0
    made = at_once(problem(), PLANS[:5])
    assert Counting.calls == 5 * STEPS + CHECKED
    monkeypatch.undo()
    assert made == one_by_one(problem(), PLANS[:5])


def test_an_interruption_keeps_the_runs_that_had_ended_and_the_users_objects(free):
    model = nn.Sequential(nn.Linear(3, 1))
    before = copy.deepcopy(model.state_dict())
    calls = itertools.count()

    def interrupted(output, target):
        if next(calls) == STEPS + 20:
            raise KeyboardInterrupt
        return nn.functional.mse_loss(output, target)

    with ManyShortRuns(problem(model=model, loss_fn=interrupted), seed=3, device=CPU, observer=Recorder()) as runs:
        made = list(runs.run_all([*PLANS[:6], RunPlan(lr=1e4, steps=STEPS), RunPlan(lr=1e20, steps=STEPS)]))
    assert {run.stop for run in made if run.plan.lr > 0.2} <= {Stop.DIVERGED, Stop.NON_FINITE}
    cut = [run for run in made[1:] if run.plan.lr < 0.2]
    assert {(run.stop, run.loss, run.why) for run in cut} == {(Stop.INTERRUPTED, None, "the run was cut short")}
    assert all(0 < run.updates < STEPS for run in cut)
    torch.testing.assert_close(before, model.state_dict(), rtol=0, atol=0)


def test_runs_whose_losses_are_read_late_are_stacked_too(free, monkeypatch):
    """As on a GPU: the host knows a loss some updates after it was computed."""
    expected = one_by_one(problem())
    set_clock(monkeypatch, lambda: 0.0, kind="cuda")
    monkeypatch.setattr(short_runs, "readout_for", lambda *_: Late(CPU))
    calls = free()
    made = at_once(problem())
    assert free() - calls == 2 * STEPS
    for one, other in zip(expected, made, strict=True):
        assert (other.stop, other.updates) == (one.stop, one.updates)
        assert other.loss == (None if one.loss is None else pytest.approx(one.loss, rel=1e-5))


def test_the_first_update_of_a_gpu_tells_nothing_of_its_pace(free, monkeypatch):
    """It loads kernels: here each update takes a second, and the first of the stack a thousand."""
    ticks = iter([0.0, *map(float, range(1, STEPS + 1)), 1e3, 2e3, *(2e3 + n for n in range(1, 1000))])
    set_clock(monkeypatch, lambda: next(ticks), kind="cuda")
    calls = free()
    at_once(problem(), PLANS[:6])
    assert free() - calls == 2 * STEPS


def test_the_time_limit_ends_all(free):
    with ManyShortRuns(problem(), seed=3, device=CPU, observer=Recorder(), deadline=time.monotonic() + 1e9) as runs:
        first = runs.run(PLANS[0])
        runs._deadline = time.monotonic()
        made = runs._at_once(first, runs.losses, PLANS[1:5])
    assert [(run.stop, run.why) for run in made] == [
        (Stop.OUT_OF_TIME, "the time limit was reached after 0 updates")
    ] * 4
