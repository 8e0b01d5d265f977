"""The rule that reads short runs."""

from __future__ import annotations

import math

import pytest

from lrfinder.records import Pick, Status
from lrfinder.rules.short_runs import NEARLY, short_runs, trains
from lrfinder.search.valley import Valley, find_valley
from runs import parabola, runs_at


def steepest(x: float) -> Pick:
    return Pick(rule="steepest", lr=10**x, low=None, high=None, status=Status.CONFIDENT, why="")


def valley(xs: list[float], best: float = -2.0, width: float = 1.5) -> Valley:
    found = find_valley(runs_at(xs, parabola(best, width=width)), 50)
    assert found is not None
    return found


WHOLE = [-3.25, -3, -2.75, -2.5, -2.25, -2, -1.75, -1.5, -1.25, -1]


def test_inside_the_stretch_the_steepest_rate_is_kept() -> None:
    assert short_runs(valley(WHOLE), steepest(-2.2)).lr == pytest.approx(10**-2.2)


@pytest.mark.parametrize("guide", [-4.0, 0.0])
def test_outside_it_the_nearest_end_is_taken(guide: float) -> None:
    pick = short_runs(valley(WHOLE), steepest(guide))
    reach = 1.5 * math.sqrt(NEARLY)  # where the parabola has given back NEARLY of its fall
    assert math.log10(pick.lr) == pytest.approx(-2 + math.copysign(reach, guide + 2), abs=0.03)
    assert pick.low <= pick.lr <= pick.high
    assert pick.status is Status.UNCERTAIN
    assert "2.0 decades away" in pick.why


def test_without_a_sweep_it_is_the_lowest_point() -> None:
    pick = short_runs(valley(WHOLE), None)
    assert math.log10(pick.lr) == pytest.approx(-2, abs=0.01)
    assert pick.status is Status.CONFIDENT
    assert "steepest" not in pick.why


def test_an_end_that_lies_open_is_uncertain() -> None:
    pick = short_runs(valley([-3, -2.5, -2.1]), steepest(-2.1))
    assert pick.status is Status.UNCERTAIN
    assert "may lie beyond" in pick.why


def test_runs_that_end_alike_over_decades_are_uncertain() -> None:
    pick = short_runs(valley([-5, -4, -3, -2, -1, 0, 1], width=6.0), steepest(-2))
    assert pick.status is Status.UNCERTAIN
    assert "ended nearly alike" in pick.why


def test_the_band_holds_what_learns_half() -> None:
    band = trains(valley(WHOLE))
    assert math.log10(band.low) == pytest.approx(-2 - 1.5 * math.sqrt(0.5), abs=0.05)
    assert math.log10(band.high) == pytest.approx(-1, abs=0.01)  # nothing is claimed beyond the last run


@pytest.mark.parametrize(("guide", "status"), [(-3.0, Status.UNCERTAIN), (-2.7, Status.CONFIDENT)])
def test_a_pick_that_is_moved_far_is_uncertain(guide: float, status: Status) -> None:
    pick = short_runs(valley(WHOLE), steepest(guide))  # the stretch begins at -2.58
    assert pick.status is status
    assert ("the two disagree: the sweep falls fastest at 0.001" in pick.why) is (status is Status.UNCERTAIN)
