"""The valley of short runs against parabolas whose lowest point is known."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.runs import START, Truth, parabola, runs_at
from lrfinder.records import RunPlan, ShortRun, Stop
from lrfinder.search.drift import (
    DRIFT_SPREAD,
    DRIFT_SPREAD_ONCE,
    EXPECTED_SPREAD,
    FARTHEST,
    LOCATING,
    NEAR_BEST,
    expected_drift,
    extrapolate,
)
from lrfinder.search.lr_profile import LrProfile, begins, lr_profile
from lrfinder.search.next_rate import next_bracket, next_refinement

AT_MINUS_2 = parabola(-2.0)


def valley(xs: list[float], truth: Truth = AT_MINUS_2, steps: int = 50) -> LrProfile:
    found = lr_profile(runs_at(xs, truth, steps=steps), steps)
    assert found is not None
    return found


@given(
    best=st.floats(-4, 0),
    offsets=st.tuples(st.floats(-0.2, 0.2), st.floats(0.3, 0.6), st.floats(0.3, 0.6)),
)
def test_the_lowest_point_of_a_parabola_is_found_whatever_the_three_rates(
    best: float, offsets: tuple[float, float, float]
) -> None:
    shift, left, right = offsets
    xs = [best + shift - left, best + shift, best + shift + right]
    found = valley(xs, parabola(best))
    losses = [parabola(best)(x) for x in xs]
    if losses[1] < min(losses[0], losses[2]):  # NumPy's least squares through three points is exact
        a, b, _ = np.polyfit(xs, losses, 2)
        middles = (xs[0] + xs[1]) / 2, (xs[1] + xs[2]) / 2
        assert found.bracketed
        assert found.x == pytest.approx(min(max(-b / (2 * a), middles[0]), middles[1]), abs=1e-6)


def test_an_outermost_lowest_point_is_not_bracketed() -> None:
    found = valley([-4, -3, -2.2])
    assert not found.bracketed
    assert found.x == pytest.approx(-2.2)


def test_a_diverged_run_counts_as_the_start() -> None:
    found = valley([-3, -2, -1, 0], lambda x: math.inf if x > -0.5 else parabola(-2.0)(x))
    assert [point.trained for point in found.points] == [True, True, True, False]
    assert found.points[-1].loss == START
    assert found.fall == pytest.approx(2.0)


def test_a_run_that_ended_above_the_start_counts_as_the_start() -> None:
    assert valley([-3, -2, 0.9]).points[-1].loss == START


def test_no_run_of_that_length_is_no_valley() -> None:
    assert lr_profile(runs_at([-2], parabola(-2)), 100) is None
    assert lr_profile((), 50) is None


def test_the_stretch_ends_where_the_loss_crosses_the_limit() -> None:
    found = valley([-3, -2.5, -2, -1.5, -1])
    low, high = found.near_best(0.15)  # by hand: 0.3 above 0.3 + ..., between -2.5 (0.2222) and -3 (0.8889)
    assert low == pytest.approx(-2.5 - 0.5 * (0.3 - 0.2222) / (0.8889 - 0.2222), abs=1e-3)
    assert high == pytest.approx(-4 - low, abs=1e-9)


def test_the_stretch_claims_nothing_beyond_what_was_tried() -> None:
    assert valley([-2.1, -2, -1.9]).near_best(0.5) == pytest.approx((-2.1, -1.9))


def test_the_middle_is_that_of_the_stretch() -> None:
    found = valley([-3, -2.5, -2, -1.5, -1], lambda x: math.inf if x > -1.7 else parabola(-2.0)(x))
    assert found.near_best_middle(0.15) == pytest.approx(sum(found.near_best(0.15)) / 2)
    assert found.near_best_middle(0.15) < -2  # the cliff is nearer than the gentle side


@given(best=st.floats(-4, 0), right=st.floats(0.05, 1), slope=st.floats(0.1, 1), beyond=st.floats(0, 1))
def test_beyond_the_last_rate_a_straight_side_goes_on(best: float, right: float, slope: float, beyond: float) -> None:
    found = valley([best - 0.5, best, best + right], lambda x: START - 2 + abs(x - best) * slope)
    assert found.lost_beyond(best + right + beyond) == pytest.approx((right + beyond) * slope / 2, rel=1e-3)
    assert found.open_end == 0


@pytest.mark.parametrize("losses", [[0.5, 0.3], [0.5, 0.3, 0.35, 0.35], [0.5, 0.3, 0.4, 0.35]])
def test_a_side_that_rises_no_more_tells_nothing_of_what_lies_beyond(losses: list[float]) -> None:
    xs = [-2.5, -2.0, -1.5, -1.0][: len(losses)]
    found = valley(xs, dict(zip(xs, losses, strict=True)).__getitem__)
    assert found.lost_beyond(-0.9) == math.inf
    assert found.open_end == (pytest.approx(0.1) if len(losses) == 2 else 0)  # 0.2 of a fall of 2


@pytest.mark.parametrize(
    ("xs", "share", "level"),
    [([-2.5, -2, -1.5], 0.0, True), ([-3, -2.1], 0.05, False), ([-2.2, -2.1], 0.05, True), ([-2], 0.5, False)],
)
def test_a_valley_is_level_where_its_lowest_point_has_neighbours_or_one_nearly_as_low(
    xs: list[float], share: float, level: bool
) -> None:
    assert valley(xs).level(share) is level


def test_bracketing_goes_up_first_then_down_then_ends() -> None:
    assert next_bracket(valley([-2]), 0.5) == pytest.approx(-1.5)
    assert next_bracket(valley([-2, -1.5]), 0.5) == pytest.approx(-2.5)
    assert next_bracket(valley([-2.5, -2, -1.5]), 0.5) is None


def test_refining_goes_to_the_lower_neighbour_and_ends_at_the_step() -> None:
    assert next_refinement(valley([-2.6, -2.1, -1.6]), 0.25) == pytest.approx(-1.85)
    assert next_refinement(valley([-2.25, -2, -1.75]), 0.25) is None


def test_a_drift_is_carried_on_by_doublings() -> None:
    short, long = valley([-2.5, -2, -1.5], parabola(-2)), valley([-2.9, -2.4, -1.9], parabola(-2.4), 200)
    drift = extrapolate(short, long, 400)
    assert drift.per_doubling == pytest.approx(-0.2)
    assert drift.doublings == 1
    chance = math.sqrt(2) * 0.05 / 2  # by the formula of the docstring
    assert drift.x == pytest.approx(-2.4 - 0.2 * 0.04 / (0.04 + chance**2))
    assert drift.error > 0.05


def test_what_was_as_long_as_the_coming_run_moves_nothing() -> None:
    long = valley([-2.5, -2, -1.5], steps=400)
    assert extrapolate(None, long, 400, expected=0.15).x == pytest.approx(-2)
    assert extrapolate(valley([-3.5, -3, -2.5], parabola(-3)), long, 400).x == pytest.approx(-2)


def test_the_best_rate_of_the_longer_runs_is_the_middle_of_those_that_end_alike() -> None:
    long = valley([-2.6, -2.3, -2.0, -1.7], lambda x: {-2.6: 1.5, -2.3: 0.41, -2.0: 0.40, -1.7: 1.3}[round(x, 1)], 400)
    low, high = long.near_best(NEAR_BEST)
    assert extrapolate(None, long, 400).x == pytest.approx((low + high) / 2)
    assert extrapolate(None, long, 400).x == pytest.approx(-2.15, abs=0.01)  # the vertex of the last three is -2.07


# What the runs at a quarter of a decade each reach, of a fall of 1.9 (by hand): the rate that is taken.
@pytest.mark.parametrize(
    ("reached", "wanted"),
    [
        ({-2.5: 0.45, -2.25: 0.42, -2.0: 0.4, -1.75: 1.36}, -2.25),  # 51 % lost: a quarter of a decade below
        ({-2.5: 0.45, -2.25: 0.42, -2.0: 0.4, -1.75: 1.34}, None),  # 49 %: the middle
        ({-2.5: 0.9, -2.25: 0.59, -2.0: 0.4, -1.75: 1.36}, -2.125),  # there it would lose 10 %: where it loses 5 %
        ({-2.25: 0.42, -2.0: 0.4, -1.75: 2.3}, -2.25),
        ({-2.25: 0.42, -2.0: 0.4}, None),  # nothing above was tried
        ({-2.0: 0.4, -1.75: 2.3}, -2.0),  # nothing below was tried
        ({-2.25: 1.36, -2.0: 0.4, -1.75: 0.5}, None),  # a cliff below is none
    ],
)
def test_a_distance_from_a_cliff_is_kept(reached: dict[float, float], wanted: float | None) -> None:
    long = valley(list(reached), lambda x: reached[round(x, 2)], 400)
    assert long.start == START
    x = long.near_best_middle(NEAR_BEST) if wanted is None else wanted
    assert extrapolate(None, long, 400).x == pytest.approx(x, abs=1e-6)
    assert extrapolate(None, long, 800).x == pytest.approx(long.near_best_middle(NEAR_BEST))  # a drift starts there


def test_a_drift_is_cut_to_its_bound() -> None:
    short = valley([-1.5, -1.0, -0.5], parabola(-1))
    long = valley([-2.5, -2.0, -1.5], parabola(-2), 200)
    drift = extrapolate(short, long, 3200)
    assert drift.x == pytest.approx(-2 - FARTHEST)
    assert drift.cut
    assert drift.error == pytest.approx(math.hypot(LOCATING, 4 * DRIFT_SPREAD_ONCE))
    assert extrapolate(short, long, 3200, repeated=True).error == pytest.approx(math.hypot(LOCATING, 4 * DRIFT_SPREAD))


def test_the_losses_between_two_rates_are_on_a_line_and_none_is_known_outside() -> None:
    found = valley([-3, -2, -1], lambda x: {-3: 1.3, -2: 0.3, -1: 2.0}[round(x)])
    assert [found.lost(x) for x in (-3, -2.5, -2, -1)] == pytest.approx([0.5, 0.25, 0.0, 0.85])
    assert math.isnan(found.lost(-3.1))
    assert math.isnan(found.lost(-0.9))


@given(losses=st.lists(st.floats(0, 2), min_size=2, max_size=7, unique=True))
def test_points_that_fall_and_then_rise_are_not_rough(losses: list[float]) -> None:
    at = len(losses) // 2
    shaped = [*sorted(losses[:at], reverse=True), min(losses) - 0.1, *sorted(losses[at:])]
    assert valley(list(range(len(shaped))), lambda x: shaped[round(x)]).roughness == 0
    shaped.append(shaped[-1] - 0.05)  # the last one comes down again
    found = valley(list(range(len(shaped))), lambda x: shaped[round(x)])
    assert found.roughness * found.fall == pytest.approx(0.05, abs=1e-9) or found.lowest is found.points[-1]


@given(short=st.floats(-4, 0), long=st.floats(-4, 0), steps=st.integers(200, 10**7))
def test_no_drift_goes_farther_than_its_bound(short: float, long: float, steps: int) -> None:
    a = valley([short - 0.5, short, short + 0.5], parabola(short))
    b = valley([long - 0.5, long, long + 0.5], parabola(long), 200)
    drift = extrapolate(a, b, steps)
    shift = drift.x - b.near_best_middle(NEAR_BEST)
    assert abs(shift) <= FARTHEST + 1e-9
    assert shift * (b.x - a.x) >= 0


def shape_of_the_gradient(share: float) -> float:
    return 2.0 - 1.5 * share


def step_halfway(make: Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer], updates: int) -> float:
    """Return how far the middle update of a run moves a weight whose gradient depends on the share of the run."""
    weight = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
    optimizer = make([weight])
    for update in range(updates // 2 + 1):
        before = weight.item()
        weight.grad = torch.tensor(shape_of_the_gradient(update / updates), dtype=torch.float64)
        optimizer.step()
    return before - weight.item()


SHORT_MEMORY = {"betas": (0.9, 0.99)}  # next to runs of thousands of updates


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("Adagrad", {}),
        ("SGD", {"momentum": 0.9}),
        ("RMSprop", {}),
        ("Adam", SHORT_MEMORY),
        ("AdamW", {"weight_decay": 0.0, **SHORT_MEMORY}),
        ("NAdam", SHORT_MEMORY),
        ("Adamax", SHORT_MEMORY),
    ],
)
def test_at_the_expected_drift_torchs_own_step_is_the_same_at_the_same_share_of_a_longer_run(
    name: str, settings: dict[str, Any]
) -> None:
    def step(updates: int, lr: float) -> float:
        return step_halfway(lambda weights: getattr(torch.optim, name)(weights, lr=lr, **settings), updates)

    drift = expected_drift(name, settings)
    assert drift == (pytest.approx(0.1505, abs=1e-4) if name == "Adagrad" else 0)
    assert step(16000, 1e-3 * 10 ** (2 * drift)) == pytest.approx(step(4000, 1e-3), rel=0.03)


def test_of_an_accumulator_that_starts_full_nothing_is_expected() -> None:
    def step(updates: int) -> float:
        return step_halfway(lambda w: torch.optim.Adagrad(w, lr=1e-3, initial_accumulator_value=1e6), updates)

    assert step(16000) == pytest.approx(step(4000), rel=0.03)  # which is why
    assert expected_drift("Adagrad", {"initial_accumulator_value": 1e6}) == 0
    assert expected_drift("Adagrad", {"initial_accumulator_value": 0}) > 0


def mean_after(measured: float, chance: float, expected: float, spread: float) -> float:
    """Return the mean of a drift with both normal errors, by summing over a grid of drifts."""
    drifts = np.linspace(-1.5, 1.5, 60001)
    weights = np.exp(-(((drifts - measured) / chance) ** 2 + ((drifts - expected) / spread) ** 2) / 2)
    return float((drifts * weights).sum() / weights.sum())


@given(drift=st.floats(-0.3, 0.3), expected=st.sampled_from([0.15, -0.1]), times=st.sampled_from([2, 3, 4]))
def test_a_measured_drift_is_weighed_against_an_expected_one(drift: float, expected: float, times: int) -> None:
    best = -2 + drift * math.log2(times)
    short, long = valley([-2.5, -2, -1.5]), valley([best - 0.3, best, best + 0.3], parabola(best), 50 * times)
    found = extrapolate(short, long, 100 * times, expected=expected)
    chance = math.sqrt(2) * LOCATING / math.log2(times)
    assert found.per_doubling == pytest.approx(drift, abs=1e-6)
    assert found.weighed == pytest.approx(mean_after(drift, chance, expected, EXPECTED_SPREAD), abs=1e-4)
    assert min(drift, expected) - 1e-6 <= found.weighed <= max(drift, expected) + 1e-6
    if abs(found.weighed) <= FARTHEST:
        assert found.x == pytest.approx(best + found.weighed, abs=1e-6)
        assert not found.cut


@pytest.mark.parametrize("expected", [0.0, 0.1])
def test_without_shorter_runs_only_what_is_expected_is_carried_on(expected: float) -> None:
    found = extrapolate(None, valley([-2.3, -2, -1.7], parabola(-2), 200), 400, expected=expected)
    assert (found.per_doubling, found.weighed) == (None, expected)
    assert found.x == pytest.approx(-2 + expected)
    assert found.error == pytest.approx(math.hypot(LOCATING, DRIFT_SPREAD_ONCE))


def judged_by_training(lr: float, loss: float, first: float, *, control: bool = False) -> ShortRun:
    plan = RunPlan(lr=lr, steps=75, control=control)
    told = {"seed": 0, "metric": "train", "stop": Stop.COMPLETED, "updates": 75}
    return ShortRun(plan=plan, initial_loss=first, loss=loss, **told)


def test_what_is_judged_by_its_last_batches_is_compared_with_a_run_at_a_rate_too_small_to_learn_at() -> None:
    """The first loss is that of one batch: here 16.7, where the batches of the end cost 11.5 before any training."""
    runs = [
        judged_by_training(lr, loss, first=16.7, control=lr == 1e-6)
        for lr, loss in [(1e-6, 11.5), (1e-4, 11.4), (1e-2, 8.9), (1.0, 14.0)]
    ]
    assert begins(runs) == [11.5] * 4
    profile = lr_profile(runs, 75)
    assert (profile.start, profile.fall) == (11.5, pytest.approx(2.6))
    assert [point.loss for point in profile.points] == [11.5, 11.4, 8.9, 11.5]
    alone = runs[1:]  # no control was made
    assert begins(alone) == [16.7] * 3
    held_out = [dataclasses.replace(run, metric="probe") for run in runs]  # judged by the same data before and after
    assert begins(held_out) == [16.7] * 4
