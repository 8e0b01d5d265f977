"""Verification against a world whose best rate at every length is known."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curves import falls_and_explodes, sweep_of, traces_of
from lrfinder.advice.verification import (
    Verification,
    VerifyRequest,
    conclude,
    default_budget,
    next_runs,
    parse_budget,
)
from lrfinder.errors import UsageError
from lrfinder.records import Mode, RunPlan, ShortRun, Status, Stop, SweepResult, SweepSettings
from runs import START, explored, parabola, run_at

SWEEP = sweep_of(traces_of(SweepSettings(), falls_and_explodes, noise=0.02, stop_above=5.0), SweepSettings())
ALONE = SweepSettings(mode=Mode.CONTINUOUS)


def world(best: float, drift: float):
    """The best rate of runs of 50 updates is 10**best, and moves by `drift` decades with every doubling."""
    return lambda plan: run_at(plan, parabola(best + drift * math.log2(plan.steps / 50)))


def verified(request: VerifyRequest, sweep: SweepResult, make) -> tuple[Verification, tuple[ShortRun, ...]]:
    trials: tuple[ShortRun, ...] = ()
    while plans := next_runs(request, sweep, trials):
        assert len(trials) < 100, "verification has no end"
        trials += tuple(make(plan) for plan in plans)
    return conclude(request, sweep, trials), trials


@given(best=st.floats(-3, -1.5), drift=st.sampled_from([-0.2, 0.0, 0.2]), steps=st.sampled_from([200, 400, 1600]))
@settings(deadline=None, max_examples=40)
def test_the_best_rate_of_the_full_length_is_found_within_the_budget(best: float, drift: float, steps: int) -> None:
    make = world(best, drift)
    sweep = explored(SWEEP, parabola(best))
    request = VerifyRequest(steps=steps, budget=default_budget(steps), lr=10**best)
    verification, trials = verified(request, sweep, make)
    assert sum(trial.updates for trial in trials) <= request.budget
    assert len({run.plan.steps for run in (*sweep.runs, *trials)}) >= 2
    truth = best + drift * math.log2(steps / 50)
    assert verification.lr is not None
    assert abs(math.log10(verification.lr) - truth) < 0.15 + abs(drift)
    assert verification.pick.low <= 10**truth * 10**0.2
    assert verification.pick.high >= 10**truth / 10**0.2
    assert verification.schedule.optimizer.lr == pytest.approx(verification.lr, rel=0.01)
    assert len(verification.schedule.lrs()) == steps
    assert verification.updates == sweep.updates + sum(trial.updates for trial in trials)


def test_without_short_runs_in_the_sweep_both_lengths_are_made() -> None:
    sweep = sweep_of(traces_of(ALONE, falls_and_explodes, noise=0.02, stop_above=5.0), ALONE)
    verification, trials = verified(VerifyRequest(steps=1000, budget=800, lr=1e-2), sweep, world(-2.0, 0.0))
    assert len({trial.plan.steps for trial in trials}) == 2
    assert sum(trial.updates for trial in trials) <= 800
    assert verification.confirmed is True
    assert verification.lr == 1e-2


def test_a_rate_that_is_far_off_is_corrected() -> None:
    verification, _ = verified(
        VerifyRequest(steps=400, budget=800, lr=10**-2.4), explored(SWEEP, parabola(-2)), world(-2, 0)
    )
    assert verification.confirmed is False
    assert math.log10(verification.lr) == pytest.approx(-2, abs=0.05)
    assert "corrected from 0.00398 to 0.01" in verification.why


def test_a_run_many_times_as_long_is_uncertain() -> None:
    request = VerifyRequest(steps=100_000, budget=800, lr=1e-2)
    verification, _ = verified(request, explored(SWEEP, parabola(-2)), world(-2, 0))
    assert verification.pick.status is Status.UNCERTAIN
    assert "times as long as any that was tried" in verification.why


def test_runs_that_learn_nothing_tell_nothing() -> None:
    verification, _ = verified(
        VerifyRequest(steps=400, budget=800, lr=1e-2), SWEEP, lambda plan: run_at(plan, lambda _: START)
    )
    assert verification.confirmed is None
    assert verification.lr is None
    assert verification.schedule is None
    assert "--budget" in verification.hint
    with pytest.raises(UsageError, match="no schedule to save"):
        verification.save("nowhere.yaml")


def test_other_shapes_are_tried_at_the_best_rate_and_a_better_one_is_taken() -> None:
    def make(plan: RunPlan) -> ShortRun:
        gain = {"linear": 0.0, "cosine": 0.3, "constant": -0.3}[plan.schedule]
        return run_at(plan, lambda x: parabola(-2)(x) - gain)

    request = VerifyRequest(steps=400, budget=1200, lr=1e-2, schedules=("cosine", "constant"))
    verification, trials = verified(request, explored(SWEEP, parabola(-2)), make)
    assert {trial.plan.schedule for trial in trials} == {"linear", "cosine", "constant"}
    assert verification.schedule.schedule.name == "cosine"
    assert verification.confirmed is False
    assert "cosine ended lowest" in verification.why


def test_what_was_cut_short_is_made_again_and_the_rest_is_not() -> None:
    sweep, make = explored(SWEEP, parabola(-2)), world(-2, 0)
    request = VerifyRequest(steps=400, budget=800, lr=1e-2)
    first, second, *_ = next_runs(request, sweep, ())
    cut = dataclasses.replace(make(second), stop=Stop.INTERRUPTED, loss=None, updates=40)
    again = next_runs(request, sweep, (make(first), cut))
    assert second in again
    assert first not in again


@pytest.mark.parametrize(
    ("text", "steps", "budget"),
    [
        (None, 100, 800),
        (None, 100_000, 25_000),
        ("900", 10, 900),
        ("25%", 4000, 1000),
        ("0.5", 4000, 2000),
        (".1", 4000, 400),
    ],
)
def test_budgets(text: str | None, steps: int, budget: int) -> None:
    assert parse_budget(text, steps) == budget


@pytest.mark.parametrize("text", ["much", "-5", "1.5", "0", "12", "1e3", "nan", "0%"])
def test_bad_budgets(text: str) -> None:
    with pytest.raises(UsageError, match="budget"):
        parse_budget(text, 400)
