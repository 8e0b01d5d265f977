"""The fit's rules on curves whose answer is known."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.curves import depleting_sweep, falls_and_explodes, traces_of
from lrfinder.fit import fit_curve
from lrfinder.records import Status, SweepSettings
from lrfinder.rules import FIT_RULES, RULE_NAMES, pick_all
from lrfinder.rules.band import trainable_band
from lrfinder.rules.lowest import lowest
from lrfinder.rules.steepest import steepest
from lrfinder.rules.steepest_raw import steepest_raw
from lrfinder.rules.trials import TRIALS_RULE

SWEEP = SweepSettings(min_lr=1e-6, max_lr=100.0, steps=100, repeats=3)


def test_steepest_raw_is_the_middle_of_a_symmetric_fall() -> None:
    pick = steepest_raw(fit_curve(traces_of(SWEEP), SWEEP.lrs()))
    assert math.log10(pick.lr or 0) == pytest.approx(-2.5, abs=0.06)


def test_lowest_is_the_minimum_of_the_curve() -> None:
    def shape(x: float) -> float:
        return 1 + 0.3 * (x + 2) ** 2

    pick = lowest(fit_curve(traces_of(SWEEP, shape), SWEEP.lrs()))
    assert math.log10(pick.lr or 0) == pytest.approx(-2.0, abs=0.03)


def test_steepest_depends_less_on_the_length_of_the_sweep_than_the_raw_curve() -> None:
    """On a model that remembers what it learned, four times the updates leave less to gain at the good rates."""
    moved = {}
    for rule in (steepest, steepest_raw):
        picks = []
        for steps in (100, 400):
            sweep = dataclasses.replace(SWEEP, steps=steps, repeats=1)
            picks.append(rule(fit_curve((depleting_sweep(sweep),), sweep.lrs())).lr or math.nan)
        moved[rule] = abs(math.log10(picks[1] / picks[0]))
    assert moved[steepest_raw] > 0.15
    assert moved[steepest] < 0.6 * moved[steepest_raw]


@pytest.mark.parametrize("name", FIT_RULES)
@given(shift=st.floats(-1.5, 1.0), scale=st.floats(1e-3, 1e5), offset=st.floats(-100, 100))
@settings(deadline=None, max_examples=15)
def test_equivariance(name: str, shift: float, scale: float, offset: float) -> None:
    """Other units of the loss leave the pick alone; rates k times as large give a pick k times as large."""
    rule = FIT_RULES[name]
    base = rule(fit_curve(traces_of(SWEEP, noise=0.03), SWEEP.lrs()))
    wide = SweepSettings(min_lr=SWEEP.min_lr * 10**shift, max_lr=SWEEP.max_lr * 10**shift, steps=100, repeats=3)
    moved = tuple(
        dataclasses.replace(
            t,
            lrs=wide.lrs()[: len(t.lrs)],
            initial_loss=t.initial_loss * scale + offset * scale,
            losses=tuple(v * scale + offset * scale for v in t.losses),
        )
        for t in traces_of(SWEEP, noise=0.03)
    )
    pick = rule(fit_curve(moved, wide.lrs()))
    assert base.lr
    assert pick.lr
    # Two grid steps: the grid begins at the lowest rate, which rounds differently after the shift.
    assert math.log10(pick.lr / base.lr) == pytest.approx(shift, abs=0.041)


@pytest.mark.parametrize("name", FIT_RULES)
def test_the_interval_holds_the_pick_and_widens_with_noise(name: str) -> None:
    widths = []
    for noise in (0.02, 0.3):
        pick = FIT_RULES[name](fit_curve(traces_of(SWEEP, noise=noise), SWEEP.lrs()))
        assert pick.lr
        assert pick.low
        assert pick.high
        assert pick.low <= pick.lr <= pick.high
        widths.append(math.log10(pick.high / pick.low))
    assert widths[0] < widths[1]


def test_a_wide_interval_is_uncertain_and_says_so() -> None:
    noisy = steepest(fit_curve(traces_of(SWEEP, noise=1.0, seed=3), SWEEP.lrs()))
    assert noisy.status is Status.UNCERTAIN
    assert "the repeats differ by a factor of" in noisy.why
    assert steepest(fit_curve(traces_of(SWEEP, noise=0.01), SWEEP.lrs())).status is Status.CONFIDENT


def test_the_band_holds_the_pick_and_ends_where_half_the_fall_is_given_back() -> None:
    curve = fit_curve(traces_of(SWEEP), SWEEP.lrs())
    band, pick = trainable_band(curve), steepest(curve)
    assert pick.lr
    assert band.low < pick.lr < band.high
    # By hand, on the exact curve: 0.3 + half of 2.0 is reached where 0.05 * 10^(2 (x + 0.5)) = 1, at x = 0.15.
    exact = next(x / 1000 for x in range(-1000, 2000) if falls_and_explodes(x / 1000) > 0.3 + 1.0)
    assert math.log10(band.high) == pytest.approx(exact, abs=0.15)
    assert band.low_interval
    assert band.low_interval[0] <= band.low <= band.low_interval[1]


def test_every_rule_is_listed_once_and_picked_in_order() -> None:
    traces = traces_of(SWEEP, noise=0.02, stop_above=5.0)
    picks = pick_all(fit_curve(traces, SWEEP.lrs()), traces, SWEEP.steps)
    assert (TRIALS_RULE, *(pick.rule for pick in picks)) == RULE_NAMES
    assert len(set(RULE_NAMES)) == len(RULE_NAMES)
    assert {"valley", "slide", "minimum", "steep", "torch-lr-finder", "lightning", "ignite"} < set(RULE_NAMES)
