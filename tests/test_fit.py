"""The fit against numpy's own weighted polynomials, closed forms, and known noise."""

from __future__ import annotations

import dataclasses
import math
import statistics
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.curves import falls_and_explodes, trace_of, traces_of
from lrfinder.fit import BANDWIDTH, GAPS, GRID_STEP, MOST_TERMS, collect, fit_curve, smoother, terms_of
from lrfinder.records import Spacing, Stop, SweepSettings, Trace

SWEEP = SweepSettings(min_lr=1e-6, max_lr=100.0, steps=100, repeats=3)


def test_each_point_is_numpys_weighted_parabola() -> None:
    rng = np.random.default_rng(0)
    x = np.sort(rng.uniform(-6, 2, 80))
    y = np.sin(x) + 0.1 * rng.standard_normal(80)
    at = np.linspace(-6, 2, 9)
    loss, slope = smoother(x, at, 0.5)
    for i, point in enumerate(at):
        weights = np.exp(-0.5 * ((x - point) / 0.5) ** 2)
        # polyfit weights multiply residuals, so they are the square roots
        expected = np.polynomial.Polynomial(np.polynomial.polynomial.polyfit(x - point, y, 2, w=np.sqrt(weights)))
        assert loss[i] @ y == pytest.approx(expected(0.0), abs=1e-9)
        assert slope[i] @ y == pytest.approx(expected.deriv()(0.0), abs=1e-8)


@given(st.tuples(*[st.floats(-5, 5)] * 3), st.floats(0.1, 1.0))
@settings(deadline=None, max_examples=30)
def test_a_parabola_is_reproduced_exactly(coefficients: tuple[float, float, float], bandwidth: float) -> None:
    truth = np.polynomial.Polynomial(coefficients)
    x = np.linspace(-6, 2, 100)
    loss, slope = smoother(x, x, bandwidth)
    scale = 1 + np.abs(coefficients).sum() * 36
    np.testing.assert_allclose(loss @ truth(x), truth(x), atol=1e-9 * scale)
    np.testing.assert_allclose(slope @ truth(x), truth.deriv()(x), atol=1e-7 * scale)


def test_there_is_no_lag() -> None:
    """A symmetric fall is steepest where it is steepest, at any length of the sweep (a running average lags)."""

    def shape(x: float) -> float:
        return 2.0 - 1.5 * 0.5 * (1 + math.erf((x + 2.0) / 0.8))

    for steps in (60, 100, 400):
        sweep = dataclasses.replace(SWEEP, steps=steps, repeats=1)
        curve = fit_curve(traces_of(sweep, shape), sweep.lrs(), draws=2)
        assert curve.x[curve.slope.argmin()] == pytest.approx(-2.0, abs=0.03)


def test_equivariant_to_the_units_of_the_loss() -> None:
    traces = traces_of(SWEEP, noise=0.05)
    other = tuple(
        dataclasses.replace(t, initial_loss=t.initial_loss * 1e4 - 7e4, losses=tuple(v * 1e4 - 7e4 for v in t.losses))
        for t in traces
    )
    one, two = fit_curve(traces, SWEEP.lrs()), fit_curve(other, SWEEP.lrs())
    np.testing.assert_allclose(two.loss, one.loss * 1e4 - 7e4, rtol=1e-9)
    np.testing.assert_allclose(two.slope, one.slope * 1e4, rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(two.loss_draws, one.loss_draws * 1e4 - 7e4, rtol=1e-9)


def test_the_interval_covers_the_truth() -> None:
    """Over many sweeps of a known curve, the pointwise 90 % interval holds the noise-free fit about that often."""
    truth = fit_curve(traces_of(SWEEP), SWEEP.lrs(), draws=2)
    probe = np.abs(truth.x - (-2.5)).argmin()
    covered = 0
    for seed in range(60):
        record = fit_curve(traces_of(SWEEP, noise=0.2, seed=seed), SWEEP.lrs()).record()
        covered += record.low[probe] <= truth.loss[probe] <= record.high[probe]
    # Few clusters make a bootstrap a little too sure; 60 sweeps leave a standard error of 0.05.
    assert 0.7 <= covered / 60 <= 1.0


def test_noise_is_measured_whatever_the_spikes() -> None:
    traces = tuple(
        dataclasses.replace(t, losses=tuple(v + (3.0 if i % 17 == 5 else 0.0) for i, v in enumerate(t.losses)))
        for t in traces_of(SWEEP, lambda x: 2.3 - x / 10, noise=0.1)
    )
    assert fit_curve(traces, SWEEP.lrs()).noise == pytest.approx(0.1, rel=0.35)


def test_the_fit_does_not_depend_on_when_a_divergence_was_noticed() -> None:
    """Stopping at the rise or letting the explosion run: the curve below is the same."""
    early = traces_of(SWEEP, stop_above=4.5)
    late = traces_of(SWEEP, stop_above=1e6)
    assert len(early[0].losses) < len(late[0].losses) - 5
    one, two = fit_curve(early, SWEEP.lrs(), draws=2), fit_curve(late, SWEEP.lrs(), draws=2)
    below = one.x < -0.5
    np.testing.assert_allclose(one.loss[below], two.loss[: len(one.loss)][below], atol=0.02)


def test_one_repeat_that_stopped_by_chance_does_not_spoil_the_others() -> None:
    traces = traces_of(SWEEP, noise=0.02, stop_above=4.5)
    unlucky = dataclasses.replace(traces[0], lrs=traces[0].lrs[:6], losses=traces[0].losses[:6], stop=Stop.DIVERGED)
    clean, spoiled = fit_curve(traces, SWEEP.lrs(), draws=2), fit_curve((unlucky, *traces[1:]), SWEEP.lrs(), draws=2)
    np.testing.assert_allclose(spoiled.loss, clean.loss[: len(spoiled.loss)], atol=0.05)


def test_a_nan_tail_counts_as_divergence() -> None:
    whole = trace_of(SWEEP, falls_and_explodes, stop_above=4.5)
    with_nan = dataclasses.replace(whole, losses=(*whole.losses[:-1], math.nan), stop=Stop.NON_FINITE)
    one, two = (fit_curve((t,), SWEEP.lrs(), draws=2) for t in (whole, with_nan))
    assert np.isfinite(two.loss).all()
    np.testing.assert_allclose(one.loss, two.loss, atol=1e-9)


def test_losses_above_start_plus_fall_are_cut() -> None:
    points = collect(traces_of(SWEEP, stop_above=1e9), SWEEP.lrs())
    assert points.start == pytest.approx(2.3, abs=0.01)
    assert points.y.max() == pytest.approx(points.start + points.fall)


@pytest.mark.parametrize("spacing", list(Spacing))
def test_a_sweep_with_too_many_points_for_terms_of_their_own_is_fitted_as_closely_as_they_tell(
    spacing: Spacing,
) -> None:
    """Held to the parabolas through all points, one by one, by numpy; and the draws to the dense formula."""
    sweep = dataclasses.replace(SWEEP, min_lr=1e-4, max_lr=1.0, steps=2 * MOST_TERMS, repeats=2, spacing=spacing)
    curve = fit_curve(traces_of(sweep, noise=0.2), sweep.lrs())
    points = curve.points
    assert len(terms_of(points.x).x) < len(points.x) / 4
    middle = np.flatnonzero((curve.x > -2.2) & (curve.x < -0.3))  # where no kernel is widened for sparse rates
    for at in middle[::10]:
        root = np.exp(-0.25 * ((points.x - curve.x[at]) / BANDWIDTH) ** 2)
        parabola = np.polynomial.polynomial.polyfit(points.x - curve.x[at], points.y, 2, w=root)
        assert curve.loss[at] == pytest.approx(parabola[0], abs=0.1 * curve.error[at])
        assert curve.slope[at] == pytest.approx(parabola[1], abs=0.1 * curve.error[at] / BANDWIDTH)
    dense, _ = smoother(points.x, curve.x, BANDWIDTH)
    np.testing.assert_allclose(curve.leverage[middle], np.sqrt((dense[middle] ** 2).sum(axis=1)), rtol=0.01)
    residual = points.y - np.interp(points.x, curve.x, dense @ points.y)
    cluster = points.repeat * 1000 + np.floor(points.x)
    # The variance of a wild cluster bootstrap is known: each cluster's sum changes its sign by a coin.
    sums = np.stack([(dense * residual)[:, cluster == one].sum(axis=1) for one in np.unique(cluster)])
    expected = np.sqrt((sums**2).sum(axis=0))
    np.testing.assert_allclose(curve.loss_draws.std(axis=0)[middle], expected[middle], rtol=0.25)  # of 200 draws


def test_up_to_a_limit_every_point_is_a_term() -> None:
    x = np.linspace(-6, 2, MOST_TERMS)
    terms = terms_of(x)
    np.testing.assert_array_equal(terms.x, x)
    np.testing.assert_array_equal(terms.sum(x), x)


def test_the_fit_of_a_hundred_thousand_updates_takes_little_memory() -> None:
    sweep = dataclasses.replace(SWEEP, steps=50_000, repeats=2)
    traces = traces_of(sweep, noise=0.2)
    tracemalloc.start()
    fit_curve(traces, sweep.lrs())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # 400 grid points x 800 terms x 8 bytes = 2.6 MB, and a dozen such arrays; each point by itself would take 320 MB.
    assert peak < 100e6


def test_too_few_points_are_refused() -> None:
    short = trace_of(SweepSettings(min_lr=1e-3, max_lr=1.0, steps=9), falls_and_explodes)
    with pytest.raises(ValueError, match="at least 10 finite losses, got 9"):
        fit_curve((short,), short.lrs)


@pytest.mark.parametrize("steps", [10, 12, 30])
def test_sparse_and_linear_sweeps_are_fitted(steps: int) -> None:
    """Where points are far apart the parabola widens instead of breaking down."""
    sweep = SweepSettings(min_lr=1e-3, max_lr=1.0, steps=steps, repeats=1, spacing="linear")  # type: ignore[arg-type]
    curve = fit_curve(traces_of(sweep), sweep.lrs())
    assert np.isfinite(curve.loss).all()
    assert np.isfinite(curve.slope).all()
    assert curve.bandwidth == BANDWIDTH


def test_same_input_same_answer() -> None:
    traces = traces_of(SWEEP, noise=0.1)
    assert fit_curve(traces, SWEEP.lrs()).record() == fit_curve(traces, SWEEP.lrs()).record()


def test_what_enters_the_fit_point_by_point() -> None:
    """Two repeats by hand: one that diverged well before the middle one ended, after a NaN, and one that went on."""
    rates = tuple(10.0**e for e in (-5, -4, -3, -2, -1, 0, 1))
    losses = (4.0, 4.5, 3.0, 1.0, 2.0, 2.5, 90.0)
    long = Trace(repeat=1, seed=0, initial_loss=4.0, lrs=rates, losses=losses, updates=7, stop=Stop.COMPLETED)
    short = Trace(
        repeat=0,
        seed=0,
        initial_loss=math.nan,
        lrs=rates[:5],
        losses=(6.0, 5.0, math.nan, 3.0, math.inf),
        stop=Stop.DIVERGED,
        updates=5,
    )
    points = collect((short, long), rates)
    # Before anything was learned: 6 and 5 of the one, 4, 4 and 4.5 of the other.
    assert (points.start, points.early) == (4.5, 5)
    padded = [[value if math.isfinite(value) else math.inf for value in trace.losses] for trace in (short, long)]
    lowest = [
        min(statistics.median(window) for window in zip(*(row[i:] for i in range(5)), strict=False))
        for row in ([row[0], row[0], *row, row[-1], row[-1]] for row in padded)
    ]
    assert lowest == [6.0, 2.5]
    assert points.fall == 4.5 - 4.25
    ceiling = 4.75
    # Half of the repeats reached 5.05: what diverged at 0.1 says nothing about the rates that it didn't try.
    assert points.repeat.tolist() == [0] * 5 + [1] * 7
    assert points.y[:5].tolist() == [ceiling, ceiling, ceiling, 3.0, ceiling]
    assert points.y[5:].tolist() == [4.0, 4.5, 3.0, 1.0, 2.0, 2.5, ceiling]
    np.testing.assert_allclose(points.x, [-5, -4, -3, -2, -1, -5, -4, -3, -2, -1, 0, 1])


@pytest.mark.parametrize(("last", "imputed"), [(-1, 0), (0, 1)])
def test_a_divergence_speaks_for_the_rates_beyond_it_if_less_than_a_decade_before_the_middle_end(
    last: int, imputed: int
) -> None:
    exponents = np.arange(-12, 2)
    rates = tuple(float(10.0**e) for e in exponents)
    whole = Trace(repeat=0, seed=0, initial_loss=1.0, lrs=rates, losses=(1.0,) * 14, updates=14, stop=Stop.COMPLETED)
    count = int(np.flatnonzero(exponents == last)[0]) + 1
    cut = dataclasses.replace(whole, repeat=1, lrs=rates[:count], losses=(1.0,) * count, stop=Stop.NON_FINITE)
    points = collect((whole, cut, dataclasses.replace(whole, repeat=2)), rates)
    assert (points.repeat == 1).sum() == count + imputed
    assert points.fall == 0.0
    assert set(points.y.tolist()) == {1.0}, "without a fall infinities are cut at the largest finite loss"


def test_a_single_survivor_can_not_speak_for_the_rates_a_decade_beyond_the_others() -> None:
    rates = tuple(float(10.0**e) for e in range(-12, 3))
    survivor = Trace(repeat=0, seed=0, initial_loss=1.0, lrs=rates, losses=(1.0,) * 15, updates=15, stop=Stop.COMPLETED)
    others = [
        dataclasses.replace(survivor, repeat=n, lrs=rates[:12], losses=(1.0,) * 12, stop=Stop.DIVERGED) for n in (1, 2)
    ]
    points = collect((survivor, *others), rates)
    np.testing.assert_allclose(points.x.max(), math.log10(rates[11]) + 1)


def test_losses_that_are_all_infinite_at_first_leave_the_start_at_zero() -> None:
    rates = tuple(float(10.0**e) for e in range(-12, 0))
    losses = (math.inf, math.nan, *(-1.0,) * 10)
    points = collect(
        (Trace(repeat=0, seed=0, initial_loss=None, lrs=rates, losses=losses, updates=12, stop=Stop.COMPLETED),), rates
    )
    assert (points.start, points.early, points.fall) == (0.0, 0, 1.0)


def test_the_grid_spans_the_rates() -> None:
    curve = fit_curve(traces_of(SWEEP), SWEEP.lrs(), draws=2)
    assert curve.x[0] == curve.points.x.min()
    assert abs(curve.x[-1] - curve.points.x.max()) <= GRID_STEP / 2 + 1e-9
    np.testing.assert_allclose(np.diff(curve.x), GRID_STEP)


def test_the_noise_is_the_normal_deviation_of_what_is_not_cut() -> None:
    for shape in (falls_and_explodes, lambda x: 2.0 + 10 ** (x - 1)):  # with a fall, and without any
        curve = fit_curve(traces_of(SWEEP, shape, noise=0.05), SWEEP.lrs(), draws=2)
        points = curve.points
        residual = points.y - np.interp(points.x, curve.x, curve.loss)
        kept = residual[points.y < points.start + points.fall] if points.fall > 0 else residual
        normal = scipy.stats.median_abs_deviation(kept, center=lambda values, axis: 0.0, scale="normal")
        assert curve.noise == pytest.approx(normal, rel=1e-4)
        assert curve.start_error == pytest.approx(curve.noise * math.sqrt(math.pi / 2 / 9), rel=1e-12)


def test_the_error_is_the_larger_of_the_two_estimates() -> None:
    curve = fit_curve(traces_of(SWEEP, noise=0.05), SWEEP.lrs())
    np.testing.assert_array_equal(
        curve.error, np.maximum(np.std(curve.loss_draws, axis=0), curve.noise * curve.leverage)
    )
    assert (curve.error > np.std(curve.loss_draws, axis=0)).any()
    assert (curve.error > curve.noise * curve.leverage).any()
    loss, _ = smoother(curve.points.x, curve.x, BANDWIDTH)
    np.testing.assert_allclose(curve.leverage, np.linalg.norm(loss, axis=1))


def test_a_record_says_what_the_curve_is() -> None:
    curve = fit_curve(traces_of(SWEEP, noise=0.05), SWEEP.lrs())
    record = curve.record()
    np.testing.assert_allclose(record.lrs, 10**curve.x)
    np.testing.assert_array_equal(record.losses, curve.loss)
    np.testing.assert_array_equal(record.slopes, curve.slope)
    np.testing.assert_array_equal(record.low, np.percentile(curve.loss_draws, 5, axis=0))
    np.testing.assert_array_equal(record.high, np.percentile(curve.loss_draws, 95, axis=0))
    assert (record.start, record.noise, record.bandwidth) == (curve.points.start, curve.noise, BANDWIDTH)
    assert {type(value) for value in (*record.lrs, *record.losses, *record.slopes, *record.low)} == {float}


def test_a_draw_changes_the_signs_of_whole_decades_of_a_repeat() -> None:
    """Each draw differs from the fit by a sum of the clusters' own parts, each with a sign, and never else."""
    sweep = dataclasses.replace(SWEEP, max_lr=0.09, repeats=2)  # above, both repeats are cut at the same height
    curve = fit_curve(traces_of(sweep, noise=0.05), sweep.lrs(), draws=400, seed=3)
    points = curve.points
    loss, slope = smoother(points.x, curve.x, BANDWIDTH)
    fitted = np.interp(points.x, curve.x, loss @ points.y)
    clusters = [
        (points.repeat == repeat) & (np.floor(points.x) == decade) for repeat in (0, 1) for decade in range(-6, -1)
    ]
    for matrix, draws in ((loss, curve.loss_draws), (slope, curve.slope_draws)):
        parts = np.stack([matrix @ np.where(cluster, points.y - fitted, 0.0) for cluster in clusters])
        signs, *_ = np.linalg.lstsq(parts.T, (draws - matrix @ fitted).T, rcond=None)
        np.testing.assert_allclose(parts.T @ signs, (draws - matrix @ fitted).T, atol=1e-9)
        np.testing.assert_allclose(np.abs(signs).mean(), 1.0, atol=0.02)
        assert abs(np.sign(signs).mean()) < 0.1
    other = fit_curve(traces_of(sweep, noise=0.05), sweep.lrs(), draws=400, seed=4)
    assert not np.array_equal(curve.loss_draws, other.loss_draws)
    assert curve.loss_draws.shape == (400, len(curve.x))


def test_kernels_widen_with_the_distance_of_the_rates_around() -> None:
    """Where rates are 0.5 decade apart, the parabola is numpy's with a width of one and a half times that."""
    x = np.arange(-6.0, 2.0, 0.5)
    rng = np.random.default_rng(1)
    y = rng.standard_normal(len(x))
    loss, slope = smoother(x, np.array([-2.1]), BANDWIDTH)
    root = np.exp(-0.25 * ((x + 2.1) / (GAPS * 0.5)) ** 2)
    parabola = np.polynomial.polynomial.polyfit(x + 2.1, y, 2, w=root)
    assert loss[0] @ y == pytest.approx(parabola[0])
    assert slope[0] @ y == pytest.approx(parabola[1])
    alone, _ = smoother(np.zeros(5), np.array([0.0]), BANDWIDTH)
    np.testing.assert_allclose(alone, 0.2)


def test_bins_hold_the_mean_rate_and_the_sums_of_their_points() -> None:
    rng = np.random.default_rng(2)
    x = rng.uniform(-6, 2, 3 * MOST_TERMS)
    values = rng.standard_normal(len(x))
    terms = terms_of(x)
    frame = pd.DataFrame({"x": x, "value": values}).groupby(np.floor(x / 0.01))
    np.testing.assert_allclose(terms.x, frame["x"].mean())
    np.testing.assert_array_equal(terms.count, frame["x"].count())
    np.testing.assert_allclose(terms.sum(values), frame["value"].sum())
    assert len(terms_of(x[: MOST_TERMS + 1]).x) < MOST_TERMS


def test_where_nothing_falls_every_finite_loss_enters_as_it_is() -> None:
    """There is no scale to cut at then: only what isn't finite is cut, at the largest loss of its repeat."""
    rates = tuple(float(10.0**e) for e in range(-12, 2))
    rising = (*(float(value) for value in range(2, 13)), math.nan, math.inf, 9.0)
    trace = Trace(repeat=0, seed=0, initial_loss=1.0, lrs=rates, losses=rising, updates=14, stop=Stop.COMPLETED)
    points = collect((trace,), rates)
    assert (points.start, points.fall) == (2.0, 0.0)
    assert points.y.tolist() == [*rising[:11], 12.0, 12.0, 9.0]
