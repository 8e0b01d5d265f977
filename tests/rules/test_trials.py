"""The rule that reads short runs."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from helpers.runs import parabola, runs_at
from lrfinder.records import OptimizerFacts, Pick, Status, SweepSettings
from lrfinder.rules.trials import NEARLY, pick_by_trials, sweep_estimate, trainable_range
from lrfinder.search.lr_profile import LrProfile, lr_profile


def steepest(x: float) -> Pick:
    return Pick(rule="steepest", lr=10**x, low=None, high=None, status=Status.CONFIDENT, why="")


SGD = OptimizerFacts(name="SGD", settings={"momentum": 0.9})
ADAGRAD = OptimizerFacts(name="Adagrad", settings={"initial_accumulator_value": 0})


def valley(xs: list[float], best: float = -2.0, width: float = 1.5, steps: int = 50) -> LrProfile:
    found = lr_profile(runs_at(xs, parabola(best, width=width), steps=steps), steps)
    assert found is not None
    return found


WHOLE = [-3.25, -3, -2.75, -2.5, -2.25, -2, -1.75, -1.5, -1.25, -1]


@pytest.mark.parametrize("guide", [-2.4, -2.0, -1.7])
def test_the_pick_is_halfway_between_the_runs_middle_and_the_sweep(guide: float) -> None:
    pick = pick_by_trials(valley(WHOLE), guide, SGD)
    assert math.log10(pick.lr) == pytest.approx((guide - 2) / 2, abs=1e-9)  # the parabola is symmetric about -2
    assert pick.status is Status.CONFIDENT


@pytest.mark.parametrize("guide", [-4.0, 0.0])
def test_it_stays_inside_the_interval_and_is_uncertain_where_the_two_disagree(guide: float) -> None:
    pick = pick_by_trials(valley(WHOLE), guide, SGD)
    reach = 1.5 * math.sqrt(NEARLY)  # where the parabola has given back NEARLY of its fall
    end = pick.low if guide < -2 else pick.high
    assert pick.lr == pytest.approx(end)
    assert math.log10(end) == pytest.approx(-2 + math.copysign(reach, guide + 2), abs=0.03)
    assert pick.status is Status.UNCERTAIN
    assert "the two estimates are far apart" in pick.why


def test_beside_a_cliff_the_middle_keeps_its_distance() -> None:
    found = lr_profile(runs_at([-2.8, -2.4, -2.0, -1.6], lambda x: math.inf if x > -1.8 else 1.0 - 0.01 * x), 50)
    assert found is not None
    assert found.lowest.x == -2.0
    assert math.log10(pick_by_trials(found, None, SGD).lr) == pytest.approx(-2.4, abs=0.05)


def test_without_a_sweep_it_is_the_middle_and_uncertain() -> None:
    pick = pick_by_trials(valley(WHOLE), None, SGD)
    assert math.log10(pick.lr) == pytest.approx(-2, abs=0.01)
    assert pick.status is Status.UNCERTAIN
    assert "the sweep curve does not confirm it" in pick.why


def test_an_end_that_lies_open_is_uncertain() -> None:
    pick = pick_by_trials(valley([-3, -2.5, -2.1]), -2.1, SGD)
    assert pick.status is Status.UNCERTAIN
    assert "may lie beyond" in pick.why


def test_an_end_that_levels_off_is_not_open() -> None:
    assert pick_by_trials(valley([-3, -2.2, -2.1]), -2.1, SGD).status is Status.CONFIDENT


def test_runs_that_end_alike_over_decades_are_uncertain() -> None:
    pick = pick_by_trials(valley([-5, -4, -3, -2, -1, 0, 1], width=6.0), -2, SGD)
    assert pick.status is Status.UNCERTAIN
    assert "ended nearly alike" in pick.why


def test_a_sweep_is_early_by_more_the_longer_it_is() -> None:
    # by hand: 100 updates over 8 decades are 12.5 a decade, 400 four times as many, 100 over 2 decades as well
    for settings, early in (
        (SweepSettings(), 0.1),
        (SweepSettings(steps=400), 0.2),
        (SweepSettings(min_lr=1e-3, max_lr=0.1), 0.2),
    ):
        assert sweep_estimate(steepest(-2.0), settings) == pytest.approx(-2 + early)
    assert sweep_estimate(None, SweepSettings()) is None
    assert sweep_estimate(dataclasses.replace(steepest(-2.0), lr=None), SweepSettings()) is None


def test_the_band_holds_what_learns_half() -> None:
    band = trainable_range(valley(WHOLE))
    assert math.log10(band.low) == pytest.approx(-2 - 1.5 * math.sqrt(0.5), abs=0.05)
    assert math.log10(band.high) == pytest.approx(-1, abs=0.01)  # nothing is claimed beyond the last run


@pytest.mark.parametrize(("apart", "status"), [(0.85, Status.UNCERTAIN), (0.75, Status.CONFIDENT)])
def test_estimates_far_apart_are_uncertain(apart: float, status: Status) -> None:
    pick = pick_by_trials(valley(WHOLE), -2 - apart, SGD)
    assert pick.status is status
    assert f"the sweep's own estimate ({10 ** (-2 - apart):.3g})" in pick.why  # by hand: 0.00141, 0.00178
    assert ("the two estimates are far apart" in pick.why) is (status is Status.UNCERTAIN)


def step_halfway(updates: int, lr: float) -> float:
    """Return how far torch's Adagrad moves a weight halfway through a run, its gradient falling to a half meanwhile."""
    weight = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
    optimizer = torch.optim.Adagrad([weight], lr=lr)
    for update in range(updates // 2 + 1):
        before = weight.item()
        weight.grad = torch.tensor(2.0 - update / updates, dtype=torch.float64)
        optimizer.step()
    return before - weight.item()


@pytest.mark.parametrize(("steps", "whole"), [(None, 400), (400, 400), (1600, 400), (150, 150), (75, 75), (20, 75)])
def test_adagrads_short_runs_alone_stand_for_longer_ones_in_which_its_step_is_the_same(
    steps: int | None, whole: int
) -> None:
    """75 updates pass over their data as often as 400; a coming run of fewer than these is what they stand for."""
    found = valley(WHOLE, steps=75)
    still, moved = (pick_by_trials(found, None, optimizer, steps) for optimizer in (SGD, ADAGRAD))
    assert math.log10(moved.lr / still.lr) == pytest.approx(math.log10(whole / 75) / 2, abs=1e-9)
    assert step_halfway(whole, moved.lr) == pytest.approx(step_halfway(75, still.lr), rel=0.02)
    assert (moved.low / still.low, moved.high / still.high) == pytest.approx((moved.lr / still.lr,) * 2)
    assert ("Adagrad's own step falls as the root of the number of updates" in moved.why) is (whole > 75)
    assert moved.status is Status.UNCERTAIN


def test_how_far_a_pick_was_moved_and_why_is_said() -> None:
    said = pick_by_trials(valley(WHOLE, steps=75), None, ADAGRAD, 400).why  # by hand: (400 / 75)^(1/2) = 2.309
    assert (
        "their middle is 0.01; Adagrad's own step falls as the root of the number of updates, which lets the best rate "
        "go up by a factor of 2.31 from 75 to 400 updates, so the pick is 0.0231; the sweep curve does not confirm it"
    ) in said


@pytest.mark.parametrize("guide", [-2.4, -2.0, -1.7])
def test_beside_a_sweep_the_pick_is_not_moved_whatever_the_optimizer(guide: float) -> None:
    picks = [pick_by_trials(valley(WHOLE), guide, optimizer, 400) for optimizer in (SGD, ADAGRAD)]
    assert picks[0] == picks[1]


def test_an_accumulator_that_starts_full_moves_nothing() -> None:
    full = dataclasses.replace(ADAGRAD, settings={"initial_accumulator_value": 0.1})
    assert pick_by_trials(valley(WHOLE), None, full, 400) == pick_by_trials(valley(WHOLE), None, SGD, 400)


def test_the_bands_upper_end_goes_with_a_pick_that_is_moved() -> None:
    still, moved = trainable_range(valley(WHOLE)), trainable_range(valley(WHOLE), 0.3)
    assert moved.low == still.low
    assert math.log10(moved.high / still.high) == pytest.approx(0.3)
