"""The rule that reads short runs."""

from __future__ import annotations

import dataclasses
import math

import pytest

from lrfinder.records import Pick, Status, SweepSettings
from lrfinder.rules.short_runs import NEARLY, guided_by, short_runs, trains
from lrfinder.search.valley import Valley, find_valley
from runs import parabola, runs_at


def steepest(x: float) -> Pick:
    return Pick(rule="steepest", lr=10**x, low=None, high=None, status=Status.CONFIDENT, why="")


def valley(xs: list[float], best: float = -2.0, width: float = 1.5) -> Valley:
    found = find_valley(runs_at(xs, parabola(best, width=width)), 50)
    assert found is not None
    return found


WHOLE = [-3.25, -3, -2.75, -2.5, -2.25, -2, -1.75, -1.5, -1.25, -1]


@pytest.mark.parametrize("guide", [-2.4, -2.0, -1.7])
def test_the_pick_is_halfway_between_the_runs_middle_and_the_sweep(guide: float) -> None:
    pick = short_runs(valley(WHOLE), guide)
    assert math.log10(pick.lr) == pytest.approx((guide - 2) / 2, abs=1e-9)  # the parabola is symmetric about -2
    assert pick.status is Status.CONFIDENT


@pytest.mark.parametrize("guide", [-4.0, 0.0])
def test_it_stays_inside_the_interval_and_is_uncertain_where_the_two_disagree(guide: float) -> None:
    pick = short_runs(valley(WHOLE), guide)
    reach = 1.5 * math.sqrt(NEARLY)  # where the parabola has given back NEARLY of its fall
    end = pick.low if guide < -2 else pick.high
    assert pick.lr == pytest.approx(end)
    assert math.log10(end) == pytest.approx(-2 + math.copysign(reach, guide + 2), abs=0.03)
    assert pick.status is Status.UNCERTAIN
    assert "the two disagree" in pick.why


def test_beside_a_cliff_the_middle_keeps_its_distance() -> None:
    found = find_valley(runs_at([-2.8, -2.4, -2.0, -1.6], lambda x: math.inf if x > -1.8 else 1.0 - 0.01 * x), 50)
    assert found is not None
    assert found.lowest.x == -2.0
    assert math.log10(short_runs(found, None).lr) == pytest.approx(-2.4, abs=0.05)


def test_without_a_sweep_it_is_the_middle_and_uncertain() -> None:
    pick = short_runs(valley(WHOLE), None)
    assert math.log10(pick.lr) == pytest.approx(-2, abs=0.01)
    assert pick.status is Status.UNCERTAIN
    assert "no continuous sweep bears it out" in pick.why


def test_an_end_that_lies_open_is_uncertain() -> None:
    pick = short_runs(valley([-3, -2.5, -2.1]), -2.1)
    assert pick.status is Status.UNCERTAIN
    assert "may lie beyond" in pick.why


def test_an_end_that_levels_off_is_not_open() -> None:
    assert short_runs(valley([-3, -2.2, -2.1]), -2.1).status is Status.CONFIDENT


def test_runs_that_end_alike_over_decades_are_uncertain() -> None:
    pick = short_runs(valley([-5, -4, -3, -2, -1, 0, 1], width=6.0), -2)
    assert pick.status is Status.UNCERTAIN
    assert "ended nearly alike" in pick.why


def test_a_sweep_is_early_by_more_the_longer_it_is() -> None:
    # by hand: 100 updates over 8 decades are 12.5 a decade, 400 four times as many, 100 over 2 decades as well
    for settings, early in (
        (SweepSettings(), 0.1),
        (SweepSettings(steps=400), 0.2),
        (SweepSettings(min_lr=1e-3, max_lr=0.1), 0.2),
    ):
        assert guided_by(steepest(-2.0), settings) == pytest.approx(-2 + early)
    assert guided_by(None, SweepSettings()) is None
    assert guided_by(dataclasses.replace(steepest(-2.0), lr=None), SweepSettings()) is None


def test_the_band_holds_what_learns_half() -> None:
    band = trains(valley(WHOLE))
    assert math.log10(band.low) == pytest.approx(-2 - 1.5 * math.sqrt(0.5), abs=0.05)
    assert math.log10(band.high) == pytest.approx(-1, abs=0.01)  # nothing is claimed beyond the last run


@pytest.mark.parametrize(("apart", "status"), [(0.85, Status.UNCERTAIN), (0.75, Status.CONFIDENT)])
def test_estimates_far_apart_are_uncertain(apart: float, status: Status) -> None:
    pick = short_runs(valley(WHOLE), -2 - apart)
    assert pick.status is status
    assert ("the two disagree: the sweep says 0.00141" in pick.why) is (status is Status.UNCERTAIN)
