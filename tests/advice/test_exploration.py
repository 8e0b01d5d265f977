"""Which short runs a sweep makes: around its pick, or over the range where it has none; and that it ends."""

from __future__ import annotations

import dataclasses
import math
import random
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.advice import advice_on, next_run_of
from helpers.curves import falls_and_explodes, sweep_of, traces_of
from helpers.runs import START, Truth, explored, parabola, run_at, runs_at
from lrfinder.advice import Request
from lrfinder.advice.sweep.doubts import weak_fall
from lrfinder.advice.sweep.evidence import FIRST, found_nothing, profile_if_learned
from lrfinder.advice.sweep.exploration import AROUND, first_run
from lrfinder.fit import fit_curve
from lrfinder.records import Mode, Status, Stop, SweepResult, SweepSettings

AUTO = SweepSettings()
GOOD = traces_of(AUTO, falls_and_explodes, noise=0.02, stop_above=5.0)
FLAT = traces_of(AUTO, lambda _: START, noise=0.02)


@pytest.mark.parametrize(
    ("best", "most"), [(-2.5, AROUND), (-2.0, AROUND), (-1.5, FIRST), (-1.2, FIRST), (-0.5, AROUND)]
)
def test_an_easy_sweep_costs_at_most_400_updates_and_more_only_where_the_best_run_lies_far(
    best: float, most: int
) -> None:
    result = explored(sweep_of(GOOD, AUTO), parabola(best))  # the sweep itself says -1.4
    assert len(result.runs) <= most
    assert result.updates <= 170 + 75 * most
    pick = advice_on(result, Request(steps=100)).picks[0]
    assert pick.rule == "trials"
    assert abs(math.log10(pick.lr) - best) < 0.7
    assert abs(math.log10(pick.lr) + 1.4) < 0.7


def test_short_runs_pass_over_the_data_as_a_run_of_400_updates_does() -> None:
    sweep = sweep_of(GOOD, AUTO)
    for per_epoch, batches in ((21, 4), (200, 38), (399, 75), (400, None), (5000, None), (None, None)):
        setup = dataclasses.replace(sweep.setup, batches_per_epoch=per_epoch)
        plan = next_run_of(dataclasses.replace(sweep, setup=setup))
        assert plan.batches == batches
    cached = dataclasses.replace(AUTO, cache_batches=7)
    assert next_run_of(dataclasses.replace(sweep, settings=cached)).batches == 7


def test_a_continuous_sweep_makes_none() -> None:
    only = dataclasses.replace(AUTO, mode=Mode.CONTINUOUS)
    assert next_run_of(sweep_of(traces_of(only, falls_and_explodes), only)) is None


@given(best=st.floats(-5, -3.5))
@settings(deadline=None, max_examples=30)
def test_where_every_run_around_the_sweeps_pick_blows_up_the_range_is_searched_to_its_end(best: float) -> None:
    """The lowest rate of the range learns a little, which is no reason to look for the best one beside it."""
    result = explored(
        sweep_of(GOOD, AUTO), lambda x: math.inf if x > best + 1 else START - 2 * math.exp(-((x - best) ** 2))
    )
    assert [run.stop for run in result.runs[:FIRST]] == [Stop.DIVERGED] * FIRST
    pick = advice_on(result, Request(steps=100)).picks[0]
    assert abs(math.log10(pick.lr) - best) < 0.5  # 15 % of the fall are lost 0.4 decade beside the best
    assert pick.low < 10**best < pick.high
    assert pick.status is Status.UNCERTAIN


def test_runs_that_diverge_below_a_rate_at_which_every_repeat_fell_do_not_end_the_climb() -> None:
    """As with plain LBFGS: the sweep fell at 1, a run at 1 learns, and those at 0.001 to 0.1 diverge by chance."""

    def fall_at_1(x: float) -> float:
        return START - 1.2 * math.exp(-((x / 0.15) ** 2)) + 10 ** (4 * (x - 0.5))

    def truth(x: float) -> float:
        return math.inf if -3.2 < x < -0.8 or x > 0.3 else START - 2 * math.exp(-((x / 0.5) ** 2)) - 0.1 * (x > -4.5)

    swept = sweep_of(traces_of(AUTO, fall_at_1, noise=0.3, stop_above=5.0), AUTO)
    advice = advice_on(explored(swept, truth), Request(steps=100))
    assert advice.status is Status.UNCERTAIN
    assert math.log10(advice.lr) == pytest.approx(0, abs=0.4)


@given(best=st.floats(-5, 0.5))
@settings(deadline=None, max_examples=30)
def test_where_the_curve_is_flat_the_range_is_searched_and_the_valley_found(best: float) -> None:
    result = explored(sweep_of(FLAT, AUTO), parabola(best))
    advice = advice_on(result, Request(steps=100))
    assert advice.lr is not None
    assert abs(math.log10(advice.lr) - best) < 0.15
    assert advice.picks[0].rule == "trials"
    assert "The continuous sweep allowed no pick" in advice.why


@given(best=st.floats(-5, 0.5), edge=st.floats(0.3, 2))
@settings(deadline=None, max_examples=30)
def test_restart_alone_finds_the_valley_before_an_explosion(best: float, edge: float) -> None:
    setting = SweepSettings(mode=Mode.RESTART)
    result = SweepResult(settings=setting, setup=sweep_of(GOOD, AUTO).setup, traces=())
    truth = parabola(best)
    first = run_at(first_run(setting), truth)
    result = explored(dataclasses.replace(result, runs=(first,)), lambda x: math.inf if x > best + edge else truth(x))
    pick = advice_on(result, Request(steps=100)).picks[0]
    assert abs(math.log10(pick.lr) - best) < 0.3
    assert sum(run.stop is Stop.DIVERGED for run in result.runs) <= 4


def test_without_a_curve_the_pick_is_uncertain() -> None:
    advice = advice_on(explored(sweep_of(FLAT, AUTO), parabola(-2)), Request(steps=100))
    assert advice.status is Status.UNCERTAIN
    assert "the sweep curve does not confirm it" in advice.why


# A plateau: at first any rate brings the loss to 2.27, and a run of its own learns around 10^-1 alone.
def beginning(x: float) -> float:
    return 2.27 if abs(x + 1) > 0.6 else 0.5 + (x + 1) ** 2


@pytest.mark.parametrize(
    ("floor", "is_lost"),
    [
        (lambda _: 2.27, True),  # 1.3 % of the loss, and alike
        (lambda x: 2.27 + 0.0035 * abs(x + 3.4) / 0.4, False),  # 1.3 %, but 12 % of that apart
        (lambda _: START * 0.94, False),  # alike, but 6 %
        (lambda _: START, True),  # nothing at all
    ],
)
def test_what_any_rate_finds_at_first_is_no_start_for_the_search(floor: Truth, is_lost: bool) -> None:
    settings = SweepSettings()
    runs = runs_at((-3.8, -3.4, -3.0), floor, steps=settings.run_steps)
    assert found_nothing(dataclasses.replace(sweep_of(GOOD, settings), runs=runs)) is is_lost
    assert not found_nothing(dataclasses.replace(sweep_of(GOOD, settings), runs=runs[:2]))


def test_where_only_a_beginning_was_seen_the_whole_range_is_searched_and_the_curve_not_read() -> None:
    early = traces_of(AUTO, lambda x: falls_and_explodes(x, fall=0.05, middle=-4.0), noise=0.002, stop_above=5.0)
    result = explored(sweep_of(early, AUTO), beginning)
    assert len(result.runs) > 8
    advice = advice_on(result, Request(steps=100))
    assert math.log10(advice.lr) == pytest.approx(-1, abs=0.3)
    assert advice.status is Status.UNCERTAIN
    assert advice.picks[0].rule == "trials"
    assert "where it falls fastest, runs of their own learned next to nothing" in advice.why
    nothing = advice_on(explored(sweep_of(early, AUTO), lambda _: START), Request(steps=100))
    assert nothing.status is Status.REFUSED
    assert nothing.hint.startswith("if it sits on a plateau first, let short runs take longer (--run-steps 300)")


def test_a_tiny_fall_that_no_curve_bears_out_is_none() -> None:
    """The runs at rates too small to learn at end exactly where they began, so any fall is more than their chance."""
    flat = sweep_of(FLAT, AUTO)
    for fall, status in ((0.009, Status.REFUSED), (0.011, Status.UNCERTAIN)):
        advice = advice_on(explored(flat, parabola(-2, fall=fall * START, width=0.7)), Request(steps=100))
        assert advice.status is status
    borne_out = advice_on(
        explored(sweep_of(GOOD, AUTO), parabola(-1.4, fall=0.009 * START, width=0.7)), Request(steps=100)
    )
    assert borne_out.picks[0].rule == "trials"
    assert borne_out.status is Status.CONFIDENT


def test_a_plateau_is_seen_also_where_chance_comes_below_it_at_the_lowest_rates() -> None:
    def jumps(x: float) -> float:
        dip = 0.3 * math.exp(-(((x + 5) / 0.3) ** 2))
        return START - dip - (2.0 if x > -2.5 else 0.0) + 10 ** (2 * (x + 0.5)) * 0.05

    advice = advice_on(sweep_of(traces_of(AUTO, jumps, noise=0.02, stop_above=5.0), AUTO), Request(steps=100))
    assert advice.picks[0].rule == "steepest-raw"
    assert "all at once, as after a plateau" in advice.why


def test_after_a_plateau_a_chance_fall_far_below_the_band_is_no_pick(monkeypatch: pytest.MonkeyPatch) -> None:
    def falls(x: float) -> float:
        chance = 4.0 * math.exp(-(((x + 6) / 0.3) ** 2))
        return START + chance - 2.0 / (1 + math.exp(-15 * (x + 2.5))) + 10 ** (2 * (x + 0.5)) * 0.05

    monkeypatch.setattr(sys.modules["lrfinder.advice.advise"], "late_onset", lambda curve: ("as after a plateau",))
    advice = advice_on(sweep_of(traces_of(AUTO, falls, noise=0.02, stop_above=9.0), AUTO), Request(steps=100))
    raw = next(pick for pick in advice.picks if pick.rule == "steepest-raw")
    assert raw.lr < 1e-5 < advice.band.low < advice.lr < advice.band.high
    assert advice.picks[0].rule == "steepest"
    assert advice.status is Status.UNCERTAIN


@pytest.mark.parametrize(("errors", "is_unclear"), [(2.1, False), (1.9, True)])
def test_a_lowest_loss_that_may_be_chance_is_a_doubt(errors: float, is_unclear: bool) -> None:
    """The bootstrap's draws are made so wide that the fall is this many standard errors."""
    curve = fit_curve(GOOD, AUTO.lrs())
    wide = float(curve.points.start - curve.loss.min()) / errors
    draws = curve.loss + wide * np.where(np.arange(200) % 2, 1.0, -1.0)[:, None]
    told = ("the fall up to the sweep's lowest loss is hardly more than chance",)
    assert weak_fall(dataclasses.replace(curve, loss_draws=draws)) == (told if is_unclear else ())


def test_after_a_fall_all_at_once_as_from_a_plateau_the_sweep_decides_and_is_uncertain() -> None:
    def jumps(x: float) -> float:
        return START - (2.0 if x > -2.5 else 0.0) + 10 ** (2 * (x + 0.5)) * 0.05

    traces = traces_of(AUTO, jumps, noise=0.02, stop_above=5.0)
    advice = advice_on(explored(sweep_of(traces, AUTO), parabola(-2)), Request(steps=100))
    assert [pick.rule for pick in advice.picks[:2]] == ["steepest-raw", "trials"]
    assert {pick.status for pick in advice.picks[:2]} == {Status.UNCERTAIN}
    assert math.log10(advice.lr) == pytest.approx(-2.5, abs=0.1)
    assert "all at once, as after a plateau" in advice.why
    lower = advice_on(explored(sweep_of(traces, AUTO), parabola(-3.2)), Request(steps=100))
    both = {pick.rule: pick.lr for pick in lower.picks if pick.rule in {"steepest-raw", "trials"}}
    assert lower.picks[0].rule == min(both, key=both.get) == "trials", "both say too much"
    assert lower.status is Status.UNCERTAIN
    gentle = advice_on(explored(sweep_of(GOOD, AUTO), parabola(-1.4)), Request(steps=100))
    assert gentle.status is Status.CONFIDENT


def test_nothing_that_learns_is_refused() -> None:
    result = explored(sweep_of(FLAT, AUTO), lambda _: START)
    advice = advice_on(result, Request(steps=100))
    assert advice.status is Status.REFUSED
    assert advice.lr is None
    assert profile_if_learned(result) is None


def test_falls_no_larger_than_chance_make_no_confident_pick() -> None:
    confident = 0
    for seed in range(10):
        rng = random.Random(seed)  # noqa: S311 - noise, not secrets
        result = explored(sweep_of(FLAT, AUTO), lambda _, rng=rng: START + rng.gauss(0, 0.01))
        confident += advice_on(result, Request(steps=100)).status is Status.CONFIDENT
    assert confident <= 1  # the size of chance is known from three runs alone: one time in ten it looks small


def test_a_coming_run_far_longer_than_what_was_tried_is_uncertain() -> None:
    result = explored(sweep_of(GOOD, AUTO), parabola(-2))
    assert advice_on(result, Request(steps=400)).status is Status.CONFIDENT
    far = advice_on(result, Request(steps=1600))
    assert far.status is Status.UNCERTAIN
    assert "21 times as long as any that was tried" in far.why
    assert advice_on(result, Request()).status is Status.CONFIDENT


@pytest.mark.parametrize("stop", [Stop.INTERRUPTED, Stop.TERMINATED, Stop.OUT_OF_TIME])
def test_after_a_run_that_was_cut_short_nothing_more_is_asked_for(stop: Stop) -> None:
    result = sweep_of(GOOD, AUTO)
    plan = next_run_of(result)
    assert plan is not None
    cut = dataclasses.replace(run_at(plan, parabola(-2)), stop=stop, loss=None)
    assert next_run_of(dataclasses.replace(result, runs=(cut,))) is None


def test_a_model_that_is_broken_from_the_start_is_not_tried_again_and_again() -> None:
    broken = [dataclasses.replace(trace, initial_loss=None, losses=(), lrs=(), stop=Stop.NON_FINITE) for trace in GOOD]
    assert next_run_of(sweep_of(broken, AUTO)) is None


def test_a_held_out_loss_that_is_no_number_before_any_update_is_not_measured_again_and_again() -> None:
    plan = next_run_of(sweep_of(FLAT, AUTO))
    assert plan is not None
    unknown = dataclasses.replace(run_at(plan, lambda _: START), initial_loss=None, loss=None, stop=Stop.NON_FINITE)
    assert next_run_of(dataclasses.replace(sweep_of(FLAT, AUTO), runs=(unknown,))) is None


def test_a_loss_that_is_no_number_at_once_says_what_was_seen_and_does_not_blame_the_rate_alone() -> None:
    seen = "the weights are finite, so it comes from the loss or the data"
    broken = [
        dataclasses.replace(trace, losses=(math.nan,), lrs=trace.lrs[:1], stop=Stop.NON_FINITE, why=seen)
        for trace in GOOD
    ]
    advice = advice_on(sweep_of(broken, AUTO), Request())
    assert advice.lr is None
    assert advice.why.endswith(seen)
    assert "NaN in the data" in advice.hint
    assert "--min-lr 1e-09" in advice.hint
