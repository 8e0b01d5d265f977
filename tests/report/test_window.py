from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lrfinder.records import SweepResult
from lrfinder.records.chart import chosen_pick
from lrfinder.report.window import is_shown, points, start_loss, window_of


def exploding(result: SweepResult, factor: float) -> SweepResult:
    """The same sweep with every loss above 2.8 (beyond the start and its noise) blown up."""
    traces = (replace(t, losses=tuple(y * factor if y > 2.8 else y for y in t.losses)) for t in result.traces)
    return replace(result, traces=tuple(traces))


def test_the_window_ignores_how_far_the_loss_explodes(digits: Any) -> None:
    window = window_of(digits.result, digits.fit)
    assert window is not None
    assert window == window_of(exploding(digits.result, 1e6), digits.fit)
    fall = digits.fit.start - min(digits.fit.losses)
    assert window.loss_high < digits.fit.start + 0.6 * fall
    assert window.loss_low > min(digits.fit.losses) - 0.4 * fall


def test_the_window_holds_start_and_lowest_and_every_measured_rate(curve: Any) -> None:
    window = window_of(curve.result, curve.fit)
    if window is None:
        assert not any(is_shown(point.loss) for point in points(curve.result))
        return
    start = start_loss(curve.result, curve.fit)
    assert start is not None
    assert window.loss_low < start < window.loss_high
    if curve.fit is not None:
        assert window.loss_low < min(curve.fit.losses)
    assert all(window.lr_low < point.lr < window.lr_high for point in points(curve.result))
    low, high = window.loss_low, window.loss_high
    assert all(map(math.isfinite, (low, high)))


def test_most_of_the_curve_before_its_lowest_point_is_in_view(named: Callable[[str], Any]) -> None:
    for name in ("digits", "nan_tail", "negative", "huge", "one_repeat", "sgd", "many_repeats"):
        curve = named(name)
        window = window_of(curve.result, curve.fit)
        assert window is not None
        bottom = curve.fit.lrs[int(np.argmin(curve.fit.losses))]
        before = [p.loss for p in points(curve.result) if p.lr <= bottom]
        inside = [window.loss_low <= y <= window.loss_high for y in before]
        assert np.mean(inside) > 0.95, name


def test_without_a_fit_a_sweep_that_diverges_at_once_still_shows_its_start(named: Callable[[str], Any]) -> None:
    window = window_of(named("diverged_at_once").result, None)
    assert window is not None
    assert window.loss_high < 10


def test_a_curve_without_height_and_with_one_rate_still_has_an_axis(digits: Any) -> None:
    trace = replace(digits.result.traces[0], lrs=(0.1,), losses=(0.0,), initial_loss=0.0)
    window = window_of(replace(digits.result, traces=(trace,)), None)
    assert window is not None
    assert window.loss_low < 0 < window.loss_high
    assert window.lr_low < 0.1 < window.lr_high


def test_chosen_pick_and_the_reason_for_a_refusal(digits: Any, named: Callable[[str], Any]) -> None:
    picks = digits.picks
    assert chosen_pick(picks, "steepest") is picks[0]
    assert chosen_pick(picks, None) is None
    with pytest.raises(ValueError, match=r"one of the picks \(steepest, .*\), got 'knee'"):
        chosen_pick(picks, "knee")
    assert replace(digits, chosen="steepest").refusal is None
    assert replace(digits, chosen="ignite").refusal == picks[-1].why
    assert replace(digits, chosen=None).refusal is None
    nothing = named("never_fell")
    assert replace(nothing, chosen=None).refusal == nothing.picks[0].why
    assert replace(digits, picks=(), chosen=None).refusal is None
