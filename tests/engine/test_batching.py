"""Batches in parts: how many, which share each has, what is spent, and when parts would not be the same."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools

import pytest
import torch
from torch import nn

from helpers.problems import CPU
from lrfinder.engine.micro_batches import MicroBatching, micro_batching_for
from lrfinder.engine.update.updater import Updater
from lrfinder.errors import EnvironmentFailure
from lrfinder.records import Metric, Stop, SweepSettings, Trace, UpdateOptions
from lrfinder.task.problem import BuiltProblem, Problem

INPUTS = torch.randn(16, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
BATCH = (INPUTS, INPUTS.sum(1, keepdim=True))
FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
IN_TWO = "memory ran out, so each batch was computed in 2 parts and its gradient summed"


def of(count):
    return tuple(part[:count] for part in BATCH)


def ran_out(batching, batch=BATCH, *, error=FULL, updates=0):
    """Hand a batch out, and have `error` come while it is trained on."""
    batching.in_use.batch = batch
    return batching.halve_after_oom(error, updates)


def trial(loss=nn.functional.mse_loss, layer=nn.Identity):
    model = nn.Sequential(nn.Linear(3, 4), layer(), nn.Linear(4, 1)).double().train()
    return BuiltProblem(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        group_ratios=(1.0,),
        loader=(),
        loss=lambda net, batch: loss(net(batch[0]), batch[1]),
        loss_note=lambda: "",
        optimizer_note="model file",
    )


def checked(made, batch=BATCH, *, times=1):
    batching = MicroBatching()
    for _ in range(times):
        assert ran_out(batching, batch)
    batching.check(made, CPU, 0)
    return batching


def test_twice_as_many_parts_each_time_until_each_is_one_sample():
    batching, counts = MicroBatching(), []
    (share, whole), *rest = batching.split(BATCH)
    assert (share, whole is BATCH, rest) == (1.0, True, [])
    while ran_out(batching, of(5)):
        parts = batching.split(of(5))
        counts.append((batching.micro_batches, len(parts)))
        assert sum(share for share, _ in parts) == pytest.approx(1.0)
        assert [share for share, _ in parts] == [len(part[0]) / 5 for _, part in parts]
        for whole, pieces in zip(of(5), zip(*(part for _, part in parts), strict=True), strict=True):
            assert torch.equal(torch.cat(pieces), whole)
    assert counts == [(2, 2), (4, 4), (5, 5)]
    assert len(batching.split(of(3))) == 3  # a shorter one has no more parts than samples


def test_what_no_smaller_batch_would_help_with():
    for batch, error in ((BATCH, ValueError("mine")), (of(1), FULL), ("text", FULL)):
        batching = MicroBatching()
        assert not ran_out(batching, batch, error=error)
        assert batching.micro_batches == 1

    def broken():
        yield BATCH
        yield BATCH
        raise FULL

    batching = MicroBatching()
    updater = Updater(trial(), UpdateOptions(), broken(), CPU, split=None, in_use=batching.in_use)
    for made in (updater, updater.fast_path or updater):
        assert made.next_loss() is not None
        assert batching.in_use.batch is BATCH
        updater.make(0.1)
    assert updater.fast_path is not None
    for made in (updater, updater.fast_path):
        batching.in_use.batch = BATCH
        with contextlib.suppress(torch.OutOfMemoryError):
            assert made.next_loss() is None  # while the next batch is loaded
        assert not batching.halve_after_oom(FULL, 0)


def test_updates_that_were_spent_are_counted_with_what_began_anew():
    batching = MicroBatching()
    assert ran_out(batching, updates=3)
    assert ran_out(batching, updates=4)
    assert (batching.wasted_updates, batching.micro_batches) == (7, 4)
    later = MicroBatching()
    done = Trace(repeat=0, seed=0, initial_loss=1.0, lrs=(), losses=(), stop=Stop.COMPLETED, updates=20)
    later.carry_on(dataclasses.replace(done, micro_batches=4, note="as before"))
    assert (later.wasted_updates, later.micro_batches, later.note) == (0, 4, "as before")


def test_the_parts_of_a_mean_are_the_same():
    assert checked(trial()).note == IN_TWO
    never = MicroBatching()
    never.check(trial(), CPU, 0)
    assert (never.note, never.micro_batches) == ("", 1)


def test_the_parts_of_a_sum_are_not():
    with pytest.raises(EnvironmentFailure) as raised:
        checked(trial(lambda output, target: (output - target).square().sum()))
    assert str(raised.value) == (
        "out of memory: CUDA out of memory. Tried to allocate 20.00 GiB.; the batch can't be computed in parts, since "
        "its loss is not a mean over samples: the parts' mean is 50% off"
    )
    assert raised.value.hint == (
        "let the loss be a mean (reduction='mean'), use a smaller batch (`--batch-size N`) with `--accumulate`, or "
        "another device"
    )


def test_what_is_nearly_a_mean_is_told_of():
    def share_of_size(share):  # twice as many samples add so much of the loss
        return lambda output, _: (0 * output).mean() + 1 + share * (len(output) == 16)

    note = checked(trial(share_of_size(0.06))).note
    assert note == f"{IN_TWO}; the loss is no mean over samples, and that of the parts is 5.7% off"  # 0.06 / 1.06
    assert checked(trial(share_of_size(0.004))).note == IN_TWO  # no more than rounding in half precision


@pytest.mark.parametrize("whole", ["never fits", "is no number"])
def test_what_can_not_be_checked_is_told_of(whole):
    def loss(output, target):
        if len(output) > 4 and whole == "never fits":
            raise FULL
        return nn.functional.mse_loss(output, target) * (float("nan") if len(output) > 4 else 1)

    note = f"{IN_TWO}; that this is the same was not checked: it is, if the loss is a mean over samples"
    assert checked(trial(loss)).note == note


def test_another_error_of_the_loss_is_the_user_s():
    def loss(output, target):
        raise KeyError("mine")

    with pytest.raises(KeyError):
        checked(trial(loss))


def test_batch_norm_never_gets_a_single_sample_and_is_warned_of():
    made = trial(layer=lambda: nn.BatchNorm1d(4))
    batching = checked(made, times=2)
    assert batching.note == (
        IN_TWO.replace("2", "4")
        + "; BatchNorm saw 4 samples at a time, so the best rate of whole batches may be another"
    )
    assert [len(part[0]) for _, part in batching.split(of(7))] == [2, 2, 3]
    assert [len(part[0]) for _, part in batching.split(of(3))] == [3]
    assert [len(part[0]) for _, part in batching.split(of(1))] == [1]
    assert len(checked(made, times=3).split(BATCH)) == 8
    with pytest.raises(EnvironmentFailure, match=r"^out of memory: CUDA out of memory. Tried to allocate 20.00 GiB.$"):
        checked(made, times=4)  # sixteen parts of sixteen samples
    made.model[1].eval()  # frozen statistics need no batch
    assert len(checked(made, times=4).split(BATCH)) == 16
    assert "BatchNorm" not in checked(made).note


@pytest.mark.parametrize(
    ("metric", "val_loader", "held_out"),
    [(Metric.TRAIN, None, 4), (Metric.TRAIN, [BATCH], 0), (Metric.PROBE, [BATCH], 4), (Metric.VAL, [BATCH], 0)],
)
def test_batches_that_are_kept_leave_some_to_judge_by_where_nothing_else_does(metric, val_loader, held_out):
    what = Problem(name="p", model=nn.Linear(3, 1), train_loader=[BATCH], val_loader=val_loader)
    settings = SweepSettings(metric=metric, cache_batches=3)
    cache = micro_batching_for(what, settings, CPU).cache
    taken = itertools.count()
    cache.fill((torch.full((2,), float(number)) for number in taken), lambda _: 0)
    assert len(cache) == 3
    assert next(taken) == 3 + held_out
    assert micro_batching_for(what, dataclasses.replace(settings, cache_batches=None), CPU).cache is None
