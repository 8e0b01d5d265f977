"""The rate for another batch: the laws at their known limits, what is said of them, and what is refused."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrfinder.advice.another_batch import LAWS, MOST_TIMES, linear_law, power_law, rate_for_batch
from lrfinder.errors import UsageError
from lrfinder.records import GradientNoise, OptimizerFacts, Setup

BATCHES = st.integers(1, 10**6)
CRITICAL = st.floats(0, 1e9)


def setup_of(optimizer: str, batch_size: int | None = 64) -> Setup:
    facts = OptimizerFacts(name=optimizer, settings={})
    told = dict.fromkeys(("model", "loss", "device", "torch", "python", "lrfinder"), "")
    return Setup(parameters=1, optimizer=facts, batch_size=batch_size, batches_per_epoch=None, **told)


def noise(batch: int = 64, critical: float = 100.0, spread: float = 0.01) -> GradientNoise:
    """Return gradients of which 1 / `critical` is the ratio of signal to noise, almost alike in all groups."""
    signal, n = batch / critical, 32  # tr(Sigma) / b = 1
    signals = [signal * (1 + off * spread) for off in (-1.5, -0.5, 0.5, 1.5)]
    means, squares = [g + 1 / n for g in signals], [g + 1 for g in signals]
    return GradientNoise(
        lr=0.1, updates=75, seed=0, batch=batch, each=n, squares=tuple(squares), means=tuple(means)
    )  # fmt: skip


@pytest.mark.parametrize("law", [linear_law, power_law])
@given(batch=BATCHES, target=BATCHES, third=BATCHES, critical=CRITICAL)
def test_a_law_goes_on_from_itself_never_falls_and_never_outgrows_the_batch(law, batch, target, third, critical):
    factor = law(batch, target, critical)
    assert law(batch, batch, critical) == pytest.approx(1)
    assert factor * law(target, third, critical) == pytest.approx(law(batch, third, critical), rel=1e-9)
    assert min(1, target / batch) * (1 - 1e-9) <= factor <= max(1, target / batch) * (1 + 1e-9)


def test_sgd_s_rate_is_proportional_to_a_small_batch_and_ends_with_a_large_one():
    assert linear_law(1, 4, 1e9) == pytest.approx(4)
    assert linear_law(1, 4, math.inf) == 4
    assert linear_law(1e6, 4e6, 100) == pytest.approx(1, rel=1e-3)
    assert linear_law(100, math.inf, 100) == 2, "at the critical batch it is half of the most that there is"


def test_adam_s_rate_is_a_power_of_a_small_batch_and_ends_at_the_critical_one():
    assert power_law(16, 64, 1000) == pytest.approx(4**0.65)
    assert power_law(16, 64, 32) == pytest.approx(2**0.65)
    assert power_law(64, 256, 32) == 1


@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
def test_the_interval_holds_the_law_at_both_ends_of_the_critical_batch(optimizer):
    setup = setup_of(optimizer, 64)
    found = rate_for_batch(0.1, setup, noise(critical=100, spread=0.3), 256)
    law, critical = LAWS[optimizer], found.critical
    off = 10**law.error
    assert critical.samples == pytest.approx(100)
    assert critical.low < critical.samples < critical.high
    assert found.lr == pytest.approx(0.1 * found.factor)
    assert found.factor == law.factor(64, 256, critical.samples)
    assert found.low == pytest.approx(law.factor(64, 256, critical.low) / off)
    assert found.high == pytest.approx(law.factor(64, 256, critical.high) * off)
    assert "0.1 is for 64 samples an update" in found.why
    assert "not measured" in found.why


def test_half_as_far_the_law_is_off_by_half_as_much():
    setup = setup_of("SGD", 64)
    far, near = (rate_for_batch(0.1, setup, noise(spread=0), target) for target in (256, 128))
    assert math.log(near.high / near.factor) == pytest.approx(math.log(far.high / far.factor) / 2)
    down = rate_for_batch(0.1, setup, noise(spread=0), 16)
    assert math.log(down.factor / down.low) == pytest.approx(math.log(far.high / far.factor))


def test_the_swept_batch_itself_keeps_its_rate():
    found = rate_for_batch(0.1, setup_of("AdamW", 64), noise(), 64)
    assert (found.lr, found.low, found.high) == (0.1, 1, 1)


@pytest.mark.parametrize(
    ("optimizer", "batch", "kept", "target", "why"),
    [
        ("RMSprop", 64, noise(), 128, "best rate of RMSprop follows the batch isn't known"),
        ("SGD", None, noise(), 128, "doesn't know how many samples"),
        ("SGD", 64, None, 128, "critical batch, which wasn't measured"),
        ("SGD", 64, noise(batch=32), 128, "critical batch, which wasn't measured"),
        ("SGD", 64, noise(), int(MOST_TIMES * 64) + 1, "must be from 16 to 256, got 257"),
        ("SGD", 64, noise(), 15, "must be from 16 to 256, got 15"),
        ("SGD", 2, noise(batch=2), 0, "must be from 1 to 8, got 0"),
    ],
)
def test_what_no_law_or_no_measurement_tells_is_refused_with_what_to_do(optimizer, batch, kept, target, why):
    with pytest.raises(UsageError, match=why) as refused:
        rate_for_batch(0.1, setup_of(optimizer, batch), kept, target)
    assert refused.value.hint
