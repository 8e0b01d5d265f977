"""What a short run says of itself, and what the observer is told of it."""

from __future__ import annotations

import functools
import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lrfinder.engine.preparation
import lrfinder.engine.short_runs
from helpers.problems import CPU, regression
from lrfinder.engine.data.subset import RepeatedSubset
from lrfinder.engine.losses.readback import DelayedReadback
from lrfinder.engine.short_runs import ShortRuns
from lrfinder.records import Precision, RunPlan, Stop, UpdateOptions

INPUTS = torch.randn(160, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
TARGETS = INPUTS.sum(1, keepdim=True)


problem = partial(
    regression,
    model=lambda: nn.Linear(3, 1).double(),
    train_loader=lambda: DataLoader(TensorDataset(INPUTS, TARGETS), batch_size=8, shuffle=True),
    val_loader=lambda: DataLoader(TensorDataset(INPUTS, TARGETS), batch_size=8),
)


def made(what, *plans, observer):
    with ShortRuns(what, seed=0, device=CPU, observer=observer) as runs:
        return [runs.run(plan) for plan in plans]


def test_the_loss_before_the_first_update_is_the_repeat_s_own_on_the_run_s_own_batches(recorder):
    model = nn.Linear(3, 1).double()
    live = problem(model=model)
    plans = [RunPlan(lr=1e-3, steps=5), RunPlan(lr=1e-3, steps=15), RunPlan(lr=1e-2, steps=5)]
    with torch.no_grad():
        ten, fifteen = (nn.functional.mse_loss(model(INPUTS[:count]), TARGETS[:count]).item() for count in (80, 120))
    runs = made(live, *plans, observer=recorder())
    assert [run.initial_loss for run in runs] == pytest.approx([ten, fifteen, ten], rel=1e-12)
    plans = [RunPlan(lr=1e-3, steps=5, repeat=repeat) for repeat in (0, 1, 0)]
    runs = made(problem(), *plans, observer=recorder())
    assert runs == [made(problem(), plan, observer=recorder())[0] for plan in plans]
    assert runs[0].initial_loss == runs[2].initial_loss != runs[1].initial_loss


@pytest.mark.parametrize(("batches", "most_bytes", "fresh"), [(2, 2**20, False), (2, 100, True), (None, 100, False)])
def test_it_says_whether_the_batches_were_too_large_to_be_kept(recorder, monkeypatch, batches, most_bytes, fresh):
    limited = functools.partial(RepeatedSubset, most_bytes=most_bytes)
    monkeypatch.setattr(lrfinder.engine.short_runs, "RepeatedSubset", limited)
    (run,) = made(problem(), RunPlan(lr=1e-3, steps=5, batches=batches), observer=recorder())
    assert run.fresh is fresh


class Told:
    """A sampler in the order of the data, which notes the epochs that it is told."""

    def __init__(self) -> None:
        self.epochs: list[int] = []

    def __len__(self) -> int:
        return 8

    def __iter__(self):
        return iter(range(8))

    def set_epoch(self, epoch: int) -> None:
        self.epochs.append(epoch)


@pytest.mark.parametrize("taken", [1, 3])
def test_the_epochs_of_repeats_lie_side_by_side(recorder, taken):
    """No two repeats share one, and what a repeat leaves out is room for one update more than it makes."""
    sampler, steps = Told(), 4
    loader = DataLoader(TensorDataset(INPUTS[:8], TARGETS[:8]), batch_size=8, sampler=sampler)
    what = problem(train_loader=loader, val_loader=None, training=UpdateOptions(accumulate=taken))
    made(what, *(RunPlan(lr=1e-3, steps=steps, repeat=repeat) for repeat in range(3)), observer=recorder())
    own = (steps + 1) * taken + 4  # a batch is a whole pass here, and four are set aside
    assert sampler.epochs == [repeat * own + epoch for repeat in range(3) for epoch in range(steps * taken + 4)]


def test_the_observer_is_told_once_what_is_trained_and_of_every_update_with_its_loss(recorder):
    class Listener(recorder):
        def __init__(self):
            super().__init__()
            self.updates = []

        def run_updated(self, plan, updates, loss):
            self.updates.append((plan, updates, loss))

    model, observer = nn.Linear(3, 1).double(), Listener()
    plans = [RunPlan(lr=0.05, steps=3, schedule="constant"), RunPlan(lr=0.1, steps=3, schedule="constant")]
    whole = [(INPUTS, TARGETS)]
    runs = made(problem(model=model, train_loader=whole, val_loader=whole), *plans, observer=observer)
    assert observer.runs == runs
    (setup,) = observer.setups
    assert (setup.model, setup.parameters, setup.loss, setup.device) == ("p", 4, "loss_fn mse_loss", "cpu")
    assert (setup.optimizer.name, setup.cached_batches) == ("SGD", None)
    expected = []
    for plan in plans:
        copy = nn.Linear(3, 1).double()
        copy.load_state_dict(model.state_dict())
        optimizer = torch.optim.SGD(copy.parameters(), lr=plan.lr)
        for number in range(1, 4):
            loss = nn.functional.mse_loss(copy(INPUTS), TARGETS)
            expected.append((plan, number, pytest.approx(loss.item(), rel=1e-9)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert observer.updates == expected


@pytest.mark.parametrize("late", [False, True])
def test_an_end_that_came_before_an_error_is_the_end(recorder, monkeypatch, late):
    """Where losses are read late, training goes on after a NaN, and into what it leads to."""
    calls = []

    def step(model, batch):
        loss = nn.functional.mse_loss(model(batch[0]), batch[1])
        calls.extend([1] * torch.is_grad_enabled())
        if len(calls) > 6:
            raise ValueError("what a NaN led to")
        return loss * math.nan if len(calls) == 4 and torch.is_grad_enabled() else loss

    readout = lambda *_: DelayedReadback(CPU, chunk=8, max_delay_s=math.inf) if late else None  # noqa: E731
    monkeypatch.setattr(lrfinder.engine.preparation, "readback_for", readout)
    plan, observer = RunPlan(lr=1e-3, steps=20), recorder()
    (run,) = made(problem(loss_fn=None, training_step=step), plan, observer=observer)
    assert observer.runs == [run]
    assert (run.plan, run.stop, run.updates, run.loss) == (plan, Stop.NON_FINITE, 3, None)
    assert run.why.startswith("the loss is nan after 3 updates: ")
    unseen = "where it came from can't be seen, since losses are read some updates late"
    assert run.why.endswith(unseen) is late


def test_an_error_is_told_with_what_was_made_before_it(recorder):
    calls = []

    def step(model, batch):
        calls.append(1)
        if len(calls) == 10 + 4:  # ten batches were judged before
            raise ValueError("mine")
        return nn.functional.mse_loss(model(batch[0]), batch[1])

    plan, observer = RunPlan(lr=1e-3, steps=9), recorder()
    with pytest.raises(ValueError, match=r"^mine$"):
        made(problem(loss_fn=None, training_step=step), plan, observer=observer)
    (run,) = observer.runs
    assert (run.plan, run.stop, run.updates, run.loss, run.metric) == (plan, Stop.FAILED, 3, None, "val")
    assert run.why.startswith("ValueError: mine (while ")
    assert run.initial_loss is not None


def test_updates_that_the_loss_scaler_skipped_are_counted(recorder):
    class Overflowing(nn.Linear):
        calls = 0

        def forward(self, inputs):
            Overflowing.calls += torch.is_grad_enabled()
            output = super().forward(inputs)
            return output + (0 * self.bias).sqrt() if Overflowing.calls == 2 and torch.is_grad_enabled() else output

    model = Overflowing(3, 1).double()
    nn.init.zeros_(model.bias)
    what = problem(model=model, training=UpdateOptions(precision=Precision.FP16))
    (run,) = made(what, RunPlan(lr=1e-4, steps=4), observer=recorder())
    assert (run.stop, run.updates, run.skipped) == (Stop.COMPLETED, 4, 1)
