"""Several short runs at once say what they say one by one."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import signal
import time
from functools import partial

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lrfinder.engine.attempt
from helpers.problems import CPU, Recorder, regression
from lrfinder.engine import preparation
from lrfinder.engine.extensions import batched_runs
from lrfinder.engine.losses.readback import DelayedReadback
from lrfinder.engine.run_queue import RunQueue
from lrfinder.engine.runtime.signals import signals_as_exceptions
from lrfinder.engine.short_runs import ShortRuns
from lrfinder.engine.vectorized import runs as together
from lrfinder.engine.vectorized.runs import CHECKED
from lrfinder.records import Precision, RunPlan, Stop, UpdateOptions

STEPS = 30
PLANS = [RunPlan(lr=lr, steps=STEPS, schedule=name) for lr in (1e-4, 0.01, 0.1) for name in ("linear", "cosine")]
PLANS += [RunPlan(lr=0.5, steps=STEPS), RunPlan(lr=1e20, steps=STEPS)]


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


problem = partial(
    regression,
    name="regression",
    model=Counting,
    train_loader=batches,
    optimizer=lambda params, lr: torch.optim.SGD(params, lr=lr, momentum=0.9),
)


def one_by_one(what, plans=PLANS):
    with ShortRuns(what, seed=3, device=CPU, observer=Recorder()) as runs:
        return [runs.run(plan) for plan in plans]


def at_once(what, plans=PLANS, observer=None):
    with RunQueue(what, seed=3, device=CPU, observer=observer or Recorder()) as runs:
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
    assert observer.begun_and_ended == [one for run in made for one in (run.plan, run)]
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

    with RunQueue(problem(model=model, loss_fn=interrupted), seed=3, device=CPU, observer=Recorder()) as runs:
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
    monkeypatch.setattr(preparation, "readback_for", lambda *_: DelayedReadback(CPU))
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
    with RunQueue(problem(), seed=3, device=CPU, observer=Recorder(), deadline=time.monotonic() + 1e9) as runs:
        first = runs.run(PLANS[0])
        runs.deadline = time.monotonic()
        made = batched_runs(runs).run(first, runs.training_losses, PLANS[1:5])
    assert [(run.stop, run.why) for run in made] == [
        (Stop.OUT_OF_TIME, "the time limit was reached after 0 updates")
    ] * 4


@pytest.mark.parametrize(
    ("name", "stop"), [("SIGINT", Stop.INTERRUPTED), ("SIGTERM", Stop.TERMINATED), ("SIGHUP", Stop.TERMINATED)]
)
def test_an_error_that_a_signal_led_to_is_told_as_that_signal(free, name, stop):
    number = getattr(signal, name, None)
    if number is None:
        pytest.skip(f"no {name} here")
    calls = itertools.count()

    def interrupted(output, target):
        if next(calls) == 4 + 8 + 4 + 4:  # the first run, with four batches that are judged before and after it
            try:
                signal.raise_signal(number)
            except BaseException:  # noqa: BLE001
                raise RuntimeError("something went wrong") from None
        return nn.functional.mse_loss(output, target)

    plans = [RunPlan(lr=1e-3 * factor, steps=8) for factor in range(1, 6)]
    before = signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    try:
        with signals_as_exceptions():
            first, *cut = at_once(problem(model=lambda: nn.Linear(3, 1), loss_fn=interrupted), plans)
    finally:
        signal.signal(number, before)
    assert (first.stop, first.updates) == (Stop.COMPLETED, 8)
    assert [(run.stop, run.updates, run.loss, run.why) for run in cut] == [(stop, 4, None, "the run was cut short")] * 4


def test_a_run_of_no_more_updates_than_are_checked_is_made_at_once_too(free):
    plans = [RunPlan(lr=0.01 * factor, steps=CHECKED) for factor in range(1, 5)]
    made = at_once(problem(), plans)
    assert free() == 2 * CHECKED
    assert [run.updates for run in made] == [CHECKED] * 4
    assert at_once(problem(), plans[:3]) == one_by_one(problem(), plans[:3])  # fewer aren't worth it


class Stream:
    """Data that are passed by once; its place in them is put back after each run."""

    def __init__(self, data):
        self.data, self.place = data, 0

    def __iter__(self):
        while self.place < len(self.data):
            self.place += 1
            yield self.data[self.place - 1]


def test_data_that_end_end_all_at_the_same_update(free):
    pairs = list(batches())
    plans = [RunPlan(lr=0.01 * factor, steps=20) for factor in range(1, 5)]
    made = at_once(problem(train_loader=Stream(pairs), val_loader=pairs[:1]), plans)
    assert free() == 2 * 8
    assert {(run.stop, run.updates, run.loss) for run in made} == {(Stop.OUT_OF_DATA, 8, None)}
    assert {run.why for run in made} == {"train_loader ran out after 8 updates and can't be started again"}


def small(**changes):
    return problem(model=lambda: nn.Linear(3, 1), **changes)


def test_however_a_run_of_a_stack_ends_it_says_what_it_says_alone(free):
    """One is done, one diverges, one blows up to infinity at once, and one diverges at the very last update."""
    plans = [RunPlan(lr=lr, steps=12, schedule="constant") for lr in (0.01, 0.05, 5.0, 1e30, 2.0)]
    alone = one_by_one(small(), plans)
    made = at_once(small(), plans)
    assert [(run.plan, run.stop, run.updates, run.initial_loss) for run in made] == [
        (run.plan, run.stop, run.updates, run.initial_loss) for run in alone
    ]
    assert [run.loss for run in made] == [
        None if run.loss is None else pytest.approx(run.loss, rel=1e-5) for run in alone
    ]
    assert {run.stop for run in made} == {Stop.COMPLETED, Stop.DIVERGED, Stop.NON_FINITE}
    for one, other in zip(alone, made, strict=True):
        # One by one it says which weight isn't finite, too.
        assert other.why == (one.why.partition(":")[0] if one.stop is Stop.NON_FINITE else one.why)


@pytest.mark.parametrize("step", ["slower", "faster"])
def test_a_stack_goes_on_only_where_it_is_faster(monkeypatch, step):
    """By a clock that a call of the first run puts on by a second, and one of the stack by more or less a run."""
    now, calls = [0.0], itertools.count()

    def loss(output, target):
        if torch.is_grad_enabled():
            now[0] += 1.0 if next(calls) < 8 else {"slower": 4.1, "faster": 3.9}[step]  # of four runs
        return nn.functional.mse_loss(output, target)

    set_clock(monkeypatch, lambda: now[0])
    plans = [RunPlan(lr=0.01 * factor, steps=8) for factor in range(1, 6)]  # four beside the first
    made = at_once(small(loss_fn=loss), plans)
    assert next(calls) == {"slower": 8 + CHECKED + 4 * 8, "faster": 8 + 8}[step]
    assert [(run.stop, run.updates) for run in made] == [(Stop.COMPLETED, 8)] * 5


ONE_BY_ONE = {
    "gathered": lambda: {"training": UpdateOptions(accumulate=2)},
    "clipped": lambda: {"training": UpdateOptions(clip_norm=1.0)},
    "in half precision": lambda: {"training": UpdateOptions(precision=Precision.BF16)},
    "a loader with one start": lambda: {"train_loader": iter(list(DataLoader(batches().dataset, batch_size=16)) * 9)},
    "too large": dict,
}


@pytest.mark.parametrize("case", ONE_BY_ONE)
def test_what_a_stack_would_not_do_alike_or_not_faster_is_made_one_by_one(free, monkeypatch, case):
    most = 19 if case == "too large" else 20  # five of 3 + 1
    monkeypatch.setitem(together.KINDS, "cpu", dataclasses.replace(together.KINDS["cpu"], most_weights=most))
    plans = [RunPlan(lr=0.01 * factor, steps=6) for factor in range(1, 6)]
    calls = itertools.count()

    def loss(output, target):
        if torch.is_grad_enabled():
            next(calls)
        return nn.functional.mse_loss(output, target)

    expected = one_by_one(small(loss_fn=loss, **ONE_BY_ONE[case]()), plans)
    alone = next(calls)
    assert at_once(small(loss_fn=loss, **ONE_BY_ONE[case]()), plans) == expected
    assert next(calls) == 2 * alone + 1
    at_once(small(loss_fn=loss), plans)
    assert next(calls) == 2 * alone + 2 + (30 if case == "too large" else 12)


def test_a_stack_ends_where_all_of_its_runs_have(free):
    calls = itertools.count()

    def loss(output, target):
        if torch.is_grad_enabled():
            next(calls)
        return nn.functional.mse_loss(output, target)

    plans = [RunPlan(lr=lr, steps=20) for lr in (0.01, 1e30, 1e30, 1e30)]
    made = at_once(small(loss_fn=loss), plans)
    assert [run.stop for run in made] == [Stop.COMPLETED, *[Stop.NON_FINITE] * 3]
    assert next(calls) == 20 + 1 + max(run.updates for run in made[1:])
    assert made[1:] == [
        dataclasses.replace(run, why=run.why.partition(":")[0]) for run in one_by_one(small(), plans)[1:]
    ]


def test_after_memory_has_run_out_each_run_is_made_by_itself(free, monkeypatch):
    monkeypatch.setattr(lrfinder.engine.attempt, "free_memory", lambda _: None)

    def loss(output, target):
        if torch.is_grad_enabled() and len(output) > 8:
            raise MemoryError("no room")
        return nn.functional.mse_loss(output, target)

    plans = [RunPlan(lr=0.01 * factor, steps=6) for factor in range(1, 6)]
    made = at_once(small(loss_fn=loss), plans)
    assert made == one_by_one(small(loss_fn=loss), plans)
    assert [(run.updates, run.micro_batches) for run in made] == [(6, 2)] * 5


def elsewhere_problem():
    return problem(training=UpdateOptions(clip_norm=1.0))  # can't be stacked


@pytest.mark.parametrize("taken", [0, 1, 3, len(PLANS) - 1])
def test_what_is_offered_elsewhere_is_made_there_as_far_as_it_goes_and_the_rest_here(taken):
    offered = []

    def elsewhere(plans, seconds):
        offered.append((list(plans), seconds))
        picked = list(reversed(plans[:taken]))  # as they end: in any order
        yield from one_by_one(elsewhere_problem(), picked)

    observer = Recorder()
    with RunQueue(elsewhere_problem(), seed=3, device=CPU, observer=observer, elsewhere=elsewhere) as runs:
        made = list(runs.run_all(PLANS))
    order = [0, *range(taken, 0, -1), *range(taken + 1, len(PLANS))]
    expected = one_by_one(elsewhere_problem())
    assert made == [expected[index] for index in order]
    assert observer.begun_and_ended == [item for run in made for item in (run.plan, run)]
    ((plans, seconds),) = offered
    assert plans == PLANS[1:]
    assert 0 < seconds < 1


def test_what_can_be_stacked_is_not_offered_elsewhere(monkeypatch):
    monkeypatch.setattr(together, "KINDS", {"cpu": dataclasses.replace(together.KINDS["cpu"], typical=lambda _: 0.0)})
    offered = []
    with RunQueue(
        problem(), seed=3, device=CPU, observer=Recorder(), elsewhere=lambda plans, _: offered.append(plans) or iter(())
    ) as runs:
        assert len(list(runs.run_all(PLANS))) == len(PLANS)
    assert offered == []


def test_ctrl_c_acts_while_others_are_waited_for_and_not_while_a_run_is_told():
    def elsewhere(plans, _):
        yield from one_by_one(elsewhere_problem(), plans[:1])
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("the signal did not act")

    made = []
    with (
        pytest.raises(KeyboardInterrupt),
        RunQueue(elsewhere_problem(), seed=3, device=CPU, observer=Recorder(), elsewhere=elsewhere) as runs,
    ):
        made.extend(runs.run_all(PLANS))
    assert [run.plan for run in made] == PLANS[:2]
