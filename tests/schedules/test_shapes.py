"""Each shape against torch's own schedulers, exact arithmetic, and the lengths at which off-by-ones show."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from torch.optim import lr_scheduler as torch_schedulers

from lrfinder.schedules import Constant, Cosine, Linear, Schedule, Step

PEAK = 0.3
# T and W: no warm-up, one update of it, all but one, all; a run of one update; ordinary ones.
LENGTHS = [(1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (12, 0), (12, 1), (12, 4), (12, 11), (12, 12), (97, 10)]


def rates_of(make: Callable[[torch.optim.Optimizer], torch_schedulers.LRScheduler], updates: int) -> list[float]:
    """Run a torch scheduler and record the rate that each update uses."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    scheduler = make(optimizer)
    rates = []
    for _ in range(updates):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return rates


def with_torch_warmup(
    decay: Callable[[torch.optim.Optimizer], torch_schedulers.LRScheduler], warmup: int
) -> Callable[[torch.optim.Optimizer], torch_schedulers.LRScheduler]:
    """Put torch's linear warm-up, 1/W ... 1, before a torch scheduler; at most one update of it is no warm-up."""
    if warmup <= 1:
        return lambda optimizer: torch_schedulers.SequentialLR(
            optimizer, [torch_schedulers.ConstantLR(optimizer, factor=1.0), decay(optimizer)], [1]
        )

    def make(optimizer: torch.optim.Optimizer) -> torch_schedulers.LRScheduler:
        rise = torch_schedulers.LinearLR(optimizer, start_factor=1 / warmup, end_factor=1.0, total_iters=warmup - 1)
        return torch_schedulers.SequentialLR(optimizer, [rise, decay(optimizer)], [warmup])

    return make


def check_against_torch(
    schedule: Schedule, decay: Callable[[torch.optim.Optimizer], torch_schedulers.LRScheduler]
) -> None:
    make = with_torch_warmup(decay, schedule.warmup) if schedule.warmup else decay
    theirs = rates_of(make, schedule.steps)
    ours = [PEAK * schedule.factor(t) for t in range(schedule.steps)]
    assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-12)  # theirs multiply the present rate, and round each time


@pytest.mark.parametrize(("steps", "warmup"), LENGTHS)
@pytest.mark.parametrize("final", [0.0, 0.1, 1.0])
def test_linear_is_torchs_linear(steps: int, warmup: int, final: float) -> None:
    length = max(steps - warmup, 1)
    check_against_torch(
        Linear(steps=steps, warmup=warmup, final=final),
        lambda o: torch_schedulers.LinearLR(o, start_factor=1.0, end_factor=final, total_iters=length),
    )


@pytest.mark.parametrize(("steps", "warmup"), LENGTHS)
@pytest.mark.parametrize("final", [0.0, 0.1, 1.0])
def test_cosine_is_torchs_cosine(steps: int, warmup: int, final: float) -> None:
    length = max(steps - warmup, 1)
    check_against_torch(
        Cosine(steps=steps, warmup=warmup, final=final),
        lambda o: torch_schedulers.CosineAnnealingLR(o, T_max=length, eta_min=final * PEAK),
    )


@pytest.mark.parametrize(("steps", "warmup"), LENGTHS)
@pytest.mark.parametrize(("every", "factor"), [(1, 0.5), (3, 0.1), (100, 0.5)])
def test_step_is_torchs_step(steps: int, warmup: int, every: int, factor: float) -> None:
    check_against_torch(
        Step(steps=steps, warmup=warmup, every=every, factor=factor),
        lambda o: torch_schedulers.StepLR(o, step_size=every, gamma=factor),
    )


@pytest.mark.parametrize(("steps", "warmup"), LENGTHS)
def test_constant_is_torchs_constant(steps: int, warmup: int) -> None:
    check_against_torch(
        Constant(steps=steps, warmup=warmup), lambda o: torch_schedulers.ConstantLR(o, factor=1.0, total_iters=steps)
    )


@pytest.mark.parametrize(("steps", "warmup"), LENGTHS)
def test_linear_to_zero_is_the_exact_fraction(steps: int, warmup: int) -> None:
    schedule = Linear(steps=steps, warmup=warmup)
    for t in range(steps + 3):
        if t < warmup:
            exact = Fraction(t + 1, warmup)
        elif warmup == steps:
            exact = Fraction(1)
        else:
            exact = Fraction(max(steps - t, 0), steps - warmup)
        assert schedule.factor(t) == pytest.approx(float(exact), rel=1e-12, abs=1e-15)


def test_written_out_by_hand() -> None:
    linear = Linear(steps=12, warmup=4)
    expected = [0.25, 0.5, 0.75, 1.0, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]
    assert [linear.factor(t) for t in range(12)] == expected
    step = Step(steps=9, warmup=2, every=3, factor=0.5)
    assert [step.factor(t) for t in range(9)] == [0.5, 1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25]
    cosine = Cosine(steps=4, final=0.5)
    half = math.sqrt(0.5)
    assert [cosine.factor(t) for t in range(4)] == pytest.approx([1.0, 0.75 + half / 4, 0.75, 0.75 - half / 4])
    assert [Constant(steps=3, warmup=2).factor(t) for t in range(3)] == [0.5, 1.0, 1.0]


@pytest.mark.parametrize(
    ("schedule", "held"),
    [
        (Linear(steps=10, warmup=2, final=0.25), 0.25),
        (Cosine(steps=10, warmup=2, final=0.25), 0.25),
        (Constant(steps=10, warmup=2), 1.0),
        (Step(steps=10, every=5, factor=0.5), 0.5),  # the drop at t = 10 is not part of the run
        (Step(steps=11, every=5, factor=0.5), 0.25),
        (Linear(steps=5, warmup=5), 1.0),
        (Cosine(steps=5, warmup=5), 1.0),
        (Step(steps=5, warmup=5, every=1, factor=0.5), 1.0),
    ],
)
def test_past_the_end_the_value_is_held_exactly(schedule: Schedule, held: float) -> None:
    assert {schedule.factor(t) for t in (schedule.steps, schedule.steps + 1, 10**9, 10**30)} == {held}


def test_torchs_cosine_rises_again_where_ours_holds() -> None:
    theirs = rates_of(lambda o: torch_schedulers.CosineAnnealingLR(o, T_max=4), 9)
    assert theirs[8] == pytest.approx(PEAK)
    assert Cosine(steps=4).factor(8) == 0.0


def test_many_small_drops_end_at_zero_and_do_not_fail() -> None:
    assert Step(steps=5000, every=1, factor=0.1).factor(4999) == 0.0


def test_a_negative_update_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 0, got -1"):
        Linear(steps=3).factor(-1)
