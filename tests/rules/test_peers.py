"""The table of peers' rules: what every rule promises, the pairing, and the pooling over repeats."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrfinder.records import Status, Stop, Trace
from lrfinder.rules.peers import PEER_RULES, PeerRule, pick_per_repeat
from lrfinder.rules.peers.curve import PeerCurve, peer_curve

rules = pytest.mark.parametrize("rule", PEER_RULES.values(), ids=PEER_RULES)


def trace_of(lrs: tuple[float, ...], losses: tuple[float, ...], *, initial_loss: float | None = 1.0) -> Trace:
    return Trace(
        repeat=0, seed=0, initial_loss=initial_loss, lrs=lrs, losses=losses, stop=Stop.COMPLETED, updates=len(lrs)
    )


@st.composite
def curves(draw: st.DrawFn) -> PeerCurve:
    steps = draw(st.integers(1, 90))
    count = draw(st.integers(0, steps))
    losses = draw(st.lists(st.floats(2.0**-10, 1e3, width=32), min_size=count, max_size=count))
    lrs = np.geomspace(1e-6, 10, steps)[:count]
    return PeerCurve(lrs=tuple(lrs.tolist()), losses=tuple(losses), steps=steps)


def noisy_curve(seed: int) -> PeerCurve:
    at = np.linspace(0, 1, 100)
    losses = 2.4 - 1.6 / (1 + np.exp(-25 * (at - 0.55))) + 0.1 * np.random.default_rng(seed).standard_normal(100)
    return PeerCurve(lrs=tuple(np.geomspace(1e-7, 10, 100).tolist()), losses=tuple(losses.tolist()), steps=100)


def test_the_table_has_the_names_that_the_recommend_command_offers() -> None:
    assert list(PEER_RULES) == ["valley", "slide", "minimum", "steep", "torch-lr-finder", "lightning", "ignite"]
    assert all(name == rule.name for name, rule in PEER_RULES.items())


@rules
@given(curve=curves())
@settings(deadline=None, max_examples=50)
def test_a_suggestion_is_one_of_the_rates(rule: PeerRule, curve: PeerCurve) -> None:
    lr = rule.suggest(curve)
    rates = [rate / 10 for rate in curve.lrs] if rule.name == "minimum" else curve.lrs
    assert lr is None or lr in rates


@rules
@given(curve=curves(), exponent=st.integers(-8, 8))
@settings(deadline=None, max_examples=50)
def test_scaled_rates_scale_the_suggestion(rule: PeerRule, curve: PeerCurve, exponent: int) -> None:
    if rule.name == "steep":
        curve = noisy_curve(
            exponent + 8
        )  # its logarithms are rounded: near-ties may go either way, so no arbitrary curve
    scaled = dataclasses.replace(curve, lrs=tuple(lr * 2.0**exponent for lr in curve.lrs))  # exact: no rounding
    lr, scaled_lr = rule.suggest(curve), rule.suggest(scaled)
    assert (lr is None) == (scaled_lr is None)
    if lr is not None:
        assert scaled_lr == pytest.approx(lr * 2.0**exponent, rel=1e-12)


@pytest.mark.parametrize("rule", [rule for name, rule in PEER_RULES.items() if name != "slide"], ids=lambda r: r.name)
@given(curve=curves(), exponent=st.integers(-8, 8))
@settings(deadline=None, max_examples=50)
def test_scaled_losses_leave_the_suggestion(rule: PeerRule, curve: PeerCurve, exponent: int) -> None:
    scaled = dataclasses.replace(curve, losses=tuple(loss * 2.0**exponent for loss in curve.losses))
    assert rule.suggest(scaled) == rule.suggest(curve)


def test_slide_depends_on_the_unit_of_the_loss() -> None:
    curve = noisy_curve(3)
    large = dataclasses.replace(curve, losses=tuple(loss * 1024 for loss in curve.losses))
    assert PEER_RULES["slide"].suggest(large) != PEER_RULES["slide"].suggest(curve)


@rules
@pytest.mark.parametrize("seed", range(3))
def test_what_follows_the_peers_own_stop_is_not_seen(rule: PeerRule, seed: int) -> None:
    curve = noisy_curve(seed)
    diverged = (*curve.losses[:80], 1e9)
    stopped = dataclasses.replace(curve, lrs=curve.lrs[:81], losses=diverged)
    tail = np.random.default_rng(seed).lognormal(0, 4, size=19).tolist()
    assert rule.suggest(stopped) is not None
    assert rule.suggest(dataclasses.replace(curve, losses=(*diverged, *tail))) == rule.suggest(stopped)


@rules
@given(losses=st.lists(st.floats(0, 3e38) | st.floats(0, 1e100), min_size=20, max_size=60))
@settings(deadline=None, max_examples=50)
def test_losses_beyond_single_precision_raise_nothing(rule: PeerRule, losses: list[float]) -> None:
    curve = PeerCurve(lrs=tuple(np.geomspace(1e-6, 10, len(losses)).tolist()), losses=tuple(losses), steps=len(losses))
    lr = rule.suggest(curve)
    assert lr is None or lr in curve.lrs or rule.name == "minimum"


@rules
def test_no_rate_without_losses(rule: PeerRule) -> None:
    assert rule.suggest(PeerCurve(lrs=(), losses=(), steps=100)) is None


def test_a_trace_becomes_what_a_peer_records() -> None:
    """Gradient descent on x^2 / 2, whose loss is known before and after each update."""
    lrs = (0.1, 0.5, 1.5, 2.5)
    x, before, after = 3.0, [], []
    for lr in lrs:
        before.append(x * x / 2)
        x -= lr * x
        after.append(x * x / 2)
    curve = peer_curve(trace_of(lrs, tuple(after), initial_loss=4.5), steps=10)
    assert curve == PeerCurve(lrs=lrs, losses=tuple(before), steps=10)


@pytest.mark.parametrize(
    ("initial_loss", "losses", "expected"),
    [
        (None, (), ()),
        (math.nan, (1.0, 2.0), ()),
        (3.0, (1.0, 2.0), (3.0, 1.0)),
        (3.0, (1.0, math.nan), (3.0, 1.0)),
        (3.0, (math.inf, 2.0, 1.0), (3.0,)),
        (3.0, (), ()),
    ],
)
def test_a_recording_ends_before_the_first_loss_that_is_not_finite(
    initial_loss: float | None, losses: tuple[float, ...], expected: tuple[float, ...]
) -> None:
    lrs = (0.1, 0.2, 0.3)[: len(losses)]
    curve = peer_curve(trace_of(lrs, losses, initial_loss=initial_loss), steps=3)
    assert curve.losses == expected
    assert curve.lrs == lrs[: len(expected)]


def test_without_the_initial_loss_the_recording_starts_with_the_second_rate() -> None:
    curve = peer_curve(trace_of((0.1, 0.2, 0.3), (1.0, 2.0, 3.0), initial_loss=None), steps=3)
    assert (curve.lrs, curve.losses) == ((0.2, 0.3), (1.0, 2.0))


def test_a_trace_whose_last_loss_was_not_measured_keeps_every_rate() -> None:
    curve = peer_curve(trace_of((0.1, 0.2), (0.5,)), steps=2)
    assert (curve.lrs, curve.losses) == ((0.1, 0.2), (1.0, 0.5))


def first_rate(curve: PeerCurve) -> float | None:
    return curve.lrs[0] if curve.lrs else None


FIRST = PeerRule(
    name="first", title="First", suggest=first_rate, formula="the first rate", needs="one loss", source="this test"
)


@pytest.mark.parametrize(
    ("first_rates", "lr", "low", "high", "why"),
    [
        ((0.01, 1.0, 0.02), 0.02, 0.01, 1.0, "First: the first rate; 3 of 3 repeats give a rate"),
        ((0.01, None, 1.0), 0.1, 0.01, 1.0, "First: the first rate; 2 of 3 repeats give a rate"),
        ((None, 0.3), 0.3, None, None, "First: the first rate; 1 of 2 repeats gives a rate"),
        ((0.3,), 0.3, None, None, "First: the first rate; the one repeat gives a rate"),
        ((0.3, 0.3), 0.3, 0.3, 0.3, "First: the first rate; 2 of 2 repeats give a rate"),
    ],
)
def test_repeats_are_pooled(
    first_rates: tuple[float | None, ...], lr: float, low: float | None, high: float | None, why: str
) -> None:
    traces = tuple(trace_of((rate,), (1.0,)) if rate else trace_of((), ()) for rate in first_rates)
    pick = pick_per_repeat(FIRST, traces, steps=5)
    assert pick.lr == pytest.approx(lr, rel=1e-15)
    assert (pick.low, pick.high) == (low, high)
    assert (pick.rule, pick.status, pick.why) == ("first", Status.UNCERTAIN, why)


@given(first_rates=st.lists(st.floats(1e-9, 1e3), min_size=1, max_size=9))
def test_the_pooled_rate_is_the_median_of_the_logarithms(first_rates: list[float]) -> None:
    pick = pick_per_repeat(FIRST, tuple(trace_of((rate,), (1.0,)) for rate in first_rates), steps=5)
    assert pick.lr == pytest.approx(10 ** np.median(np.log10(first_rates)), rel=1e-12)
    if len(first_rates) % 2:
        assert pick.lr == sorted(first_rates)[len(first_rates) // 2]


@pytest.mark.parametrize(
    ("count", "why"),
    [
        (0, "no repeat was measured; run the sweep again"),
        (1, "First needs one loss, which the one repeat lacks; sweep with more steps or a wider range"),
        (3, "First needs one loss, which all 3 repeats lack; sweep with more steps or a wider range"),
    ],
)
def test_no_rate_is_a_refusal_with_the_reason(count: int, why: str) -> None:
    pick = pick_per_repeat(FIRST, (trace_of((), ()),) * count, steps=5)
    assert (pick.lr, pick.low, pick.high, pick.status, pick.why) == (None, None, None, Status.REFUSED, why)


@rules
def test_every_rule_pools_real_looking_repeats(rule: PeerRule) -> None:
    recorded = [noisy_curve(seed) for seed in range(3)]
    traces = tuple(trace_of(curve.lrs, (*curve.losses[1:], 2.0), initial_loss=curve.losses[0]) for curve in recorded)
    alone = [rule.suggest(curve) for curve in recorded]
    pick = pick_per_repeat(rule, traces, steps=100)
    assert pick.lr == sorted(lr for lr in alone if lr is not None)[1]
    assert (pick.low, pick.high) == (min(alone), max(alone))
    assert rule.formula in pick.why
