"""What is said of another rate: by short runs whose losses are known at every rate, and where there are none."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest

from helpers.advice import advice_on, next_run_of
from helpers.curves import falls_and_explodes, sweep_of, traces_of
from helpers.runs import START, explored, parabola, run_at
from lrfinder.advice import Request
from lrfinder.errors import UsageError
from lrfinder.records import Mode, Start, SweepResult, SweepSettings

SWEEP = sweep_of(traces_of(SweepSettings(), falls_and_explodes, noise=0.02, stop_above=5.0), SweepSettings())
BEST = -2.0
LOSS = parabola(BEST)
SWEPT = explored(SWEEP, LOSS)
TRIED = sorted(run.plan.lr for run in SWEPT.runs)
PICK = advice_on(SWEPT, Request()).lr


def true_loss(lr: float) -> float:
    return run_at(dataclasses.replace(SWEPT.runs[0].plan, lr=lr), LOSS).loss


def said(lr: float, sweep: SweepResult = SWEPT):
    return advice_on(sweep, Request(against=(lr,))).against[0]


@pytest.mark.parametrize("lr", TRIED)
def test_at_a_rate_that_was_tried_it_is_what_that_run_lost_more(lr: float) -> None:
    fall = START - min(run.loss for run in SWEPT.runs)
    against = said(lr)
    assert against.measured
    # The pick lies between runs: the chord there is at least the true loss.
    assert against.worse <= (true_loss(lr) - true_loss(PICK)) / fall + 1e-9
    assert against.worse == pytest.approx((true_loss(lr) - true_loss(PICK)) / fall, abs=0.05)
    assert f"in a run of {SWEPT.settings.run_steps} updates" in str(against)


def test_between_two_of_them_it_is_read_on_the_line_between_them() -> None:
    losses = [true_loss(rate) for rate in TRIED]
    fall = START - min(losses)
    for low, high in itertools.pairwise(TRIED):
        lr = math.sqrt(low * high)
        against = said(lr)
        assert not against.measured
        at, pick = np.interp(np.log10([lr, PICK]), np.log10(TRIED), losses)
        assert against.worse == pytest.approx((at - pick) / fall, abs=1e-9)
        assert at >= true_loss(lr), "the valley is convex: it is at most that"
        assert "read between runs" in against.why


def test_your_own_rate_is_fine_or_it_is_not() -> None:
    assert str(said(PICK)).startswith(f"Yours, {PICK:g}, is fine so far: it loses at most 1% more, ")
    worst = max(TRIED, key=true_loss)
    assert f"loses {said(worst).worse:.0%} more of what training gains" in str(said(worst))
    assert "`lrfinder verify --against" in str(said(worst))


def test_if_the_loss_says_little_of_what_is_learned_nothing_is_claimed() -> None:
    doubted = dataclasses.replace(SWEPT, setup=dataclasses.replace(SWEPT.setup, doubt="it learns by acting"))
    run = dataclasses.replace(SWEPT.runs[0], doubt="it learns by acting")
    for sweep in (doubted, dataclasses.replace(SWEPT, runs=(run, *SWEPT.runs[1:]))):
        assert "can't be judged by this sweep: it learns by acting" in str(said(TRIED[0], sweep))


def test_where_no_run_was_made_nothing_is_claimed() -> None:
    band = advice_on(SWEPT, Request()).band
    for lr, where in ((band.low / 100, "below the trainable band"), (band.high * 100, "above the trainable band")):
        against = said(lr)
        assert (against.worse, against.measured) == (None, False)
        assert where in against.why
        assert "can't be judged by this sweep" in str(against)
    alone = advice_on(dataclasses.replace(SWEEP, runs=()), Request(against=(PICK,)))
    assert alone.against[0].worse is None
    for lr in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(UsageError, match="above 0"):
            said(lr)


def test_runs_that_decay_don_t_judge_a_rate_for_one_that_is_kept_constant() -> None:
    constant = advice_on(SWEPT, Request(steps=1000, schedule="constant", against=(PICK,)))
    assert constant.lr < PICK
    assert "can't be judged by this sweep: its runs let the rate decay" in str(constant.against[0])


def test_a_given_rate_outside_of_the_runs_is_the_one_that_isn_t_known() -> None:
    against = advice_on(SWEPT, Request(lr=1e-5, against=(PICK,))).against[0]
    assert against.worse is None
    assert against.why.endswith(", and none near 1e-05")


def test_whose_rate_it_is_is_said() -> None:
    optimizer = dataclasses.replace(SWEPT.setup.optimizer, own_lr=PICK)
    own = dataclasses.replace(SWEPT, setup=dataclasses.replace(SWEPT.setup, optimizer=optimizer))
    mine, other = advice_on(own, Request(against=(TRIED[0],))).against
    assert (mine.lr, mine.whose, other.whose) == (PICK, "Yours", "The rate to compare with")


def test_of_a_refused_sweep_nothing_is_compared() -> None:
    refused = advice_on(explored(SWEEP, lambda _x: START), Request(rule="trials", against=(PICK,)))
    assert (refused.lr, refused.against) == (None, ())
    assert ".." not in str(refused)
    assert "Yours" not in str(refused)


def going_on(lr: float | None, loss=LOSS) -> SweepResult:
    setup = dataclasses.replace(
        SWEEP.setup, start=Start(file="ck.pt", sha256="0" * 64, step=300, lr=lr, optimizer=lr is not None)
    )
    return explored(dataclasses.replace(SWEEP, setup=setup), loss)


@pytest.mark.parametrize("width", [1.0, 1.5])
@pytest.mark.parametrize("best", [-2.0, -1.6])
@pytest.mark.parametrize("lr", [1e-5, 1e-6, 1.0])
def test_a_run_at_a_rate_far_off_is_compared_with_and_moves_neither_pick_nor_band(
    lr: float, best: float, width: float
) -> None:
    loss = parabola(best, width=width)
    with_it, without = advice_on(going_on(lr, loss), Request()), advice_on(explored(SWEEP, loss), Request())
    assert going_on(lr, loss).runs[-1].plan.lr == lr
    assert (with_it.picks, with_it.band, with_it.status) == (without.picks, without.band, without.status)
    assert f"It stopped at {lr:g}; {'warm up again' if lr < 1 else 'go down'}" in with_it.start


@pytest.mark.parametrize("lr", [1e-4, 3e-1, 10**BEST * 1.3])
def test_a_run_is_made_at_the_rate_at_which_the_last_one_stopped(lr: float) -> None:
    swept = going_on(lr)
    assert any(abs(math.log10(run.plan.lr / lr)) < 0.03 for run in swept.runs)
    assert next_run_of(swept) is None
    assert len(swept.runs) <= len(SWEPT.runs) + 2
    advice = advice_on(swept, Request())
    assert abs(math.log10(advice.lr) - BEST) <= abs(math.log10(PICK) - BEST) + 0.05, "one run more makes it no worse"
    assert advice.start in advice.why
    expected = "warm up again, to" if lr < 1e-3 else "go down to" if lr > 0.1 else "there is no reason to change that"
    assert expected in advice.start
    assert "goes on from ck.pt after 300 updates, with its optimizer state. It stopped at" in advice.start


def test_what_isn_t_known_of_it_is_said() -> None:
    assert "stopped isn't known, so neither is whether to raise it again" in advice_on(going_on(None), Request()).start
    assert "It stopped at rate 0, at its end" in advice_on(going_on(0.0), Request()).start
    continuous = dataclasses.replace(going_on(1e-4), runs=(), settings=SweepSettings(mode=Mode.CONTINUOUS))
    assert "whether to change that isn't known" in advice_on(continuous, Request()).start
    assert advice_on(SWEPT, Request()).start == ""
