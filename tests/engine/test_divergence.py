"""The stop rule on curves whose truth is known, and the laws that it claims."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lrfinder.engine.losses.divergence import LEAST_SHARE, DivergenceRule

STEPS = np.arange(101)


def stopped_at(losses, least_rise=None):
    rule = DivergenceRule(least_rise=LEAST_SHARE * abs(losses[0]) if least_rise is None else least_rise)
    for index, loss in enumerate(losses):
        if rule.observe(float(loss)):
            return index
    return None


def noise(kind, rng, scale=0.1):
    n = len(STEPS)
    if kind == "normal":
        return rng.normal(0, scale, n)
    if kind == "student t, 2 degrees":
        return scale * rng.standard_t(2, n)
    if kind == "lognormal":
        return scale * (rng.lognormal(0, 1, n) - math.exp(0.5))
    out = np.zeros(n)  # autocorrelated
    for i in range(1, n):
        out[i] = 0.7 * out[i - 1] + rng.normal(0, scale)
    return out


def fall(depth=1.5, middle=60):
    return -depth / (1 + np.exp(-(STEPS - middle) / 6))


@pytest.mark.parametrize("shape", ["flat", "falling"])
@pytest.mark.parametrize(
    ("kind", "most"),
    [("normal", 0), ("student t, 2 degrees", 0), ("lognormal", 4), ("autocorrelated", 4)],
)
# The loss's level plays no part in this: without `least_rise` the noise alone decides.
def test_rarely_stops_on_noise(kind, most, shape):
    level = 2.3 + (fall() if shape == "falling" else 0 * STEPS)
    curves = (level + noise(kind, np.random.default_rng(seed)) for seed in range(400))
    assert sum(stopped_at(curve, least_rise=0.0) is not None for curve in curves) <= most  # of 400


@pytest.mark.parametrize("start", [2.3, 0.0, -5.0, 1e-4])
def test_stops_three_updates_after_a_jump_to_a_plateau(start):
    for seed in range(50):
        curve = start + noise("normal", np.random.default_rng(seed))
        curve[70:] += 3.0
        assert stopped_at(curve) == 72


@pytest.mark.parametrize("depth", [0.0, 1.5])
@pytest.mark.parametrize("growth", [1.5, 3.0, 10.0])
def test_stops_within_a_few_points_of_an_explosion(growth, depth):
    for seed in range(50):
        curve = 2.3 + fall(depth, middle=40) + noise("normal", np.random.default_rng(seed))
        explosion = 0.05 * growth ** np.arange(31)
        curve[70:] += explosion
        # From where it is 3 above the start plus its fall, which nobody would call noise.
        clear = 70 + int(np.argmax(explosion > 3 + 2 * depth))
        assert 70 < stopped_at(curve) <= clear + 4


def test_one_or_two_spikes_in_a_row_never_stop():
    for at in range(5, 95):
        curve = 2.3 + noise("normal", np.random.default_rng(at))
        curve[at : at + 2] = 1e9
        assert stopped_at(curve) is None


def test_a_fall_must_be_lost_twice_over():
    curve = np.concatenate([np.full(20, 2.0), np.full(20, 1.0), np.full(20, 2.9), np.full(20, 3.1)])
    assert stopped_at(curve) == 62  # three of five above 2 + (2 - 1)


def test_constant_and_monotone_losses_never_stop():
    assert stopped_at(np.full(200, 1.0)) is None
    assert stopped_at(np.zeros(200)) is None
    assert stopped_at(np.linspace(5, -5, 200)) is None


def test_a_deterministic_loss_stops_when_it_comes_back_above_its_fall():
    x, rates = 1.0, np.geomspace(1e-2, 1e2, 30)  # SGD on 0.5 * x * x, full batch: no noise at all
    curve = [0.5]
    for rate in rates:
        x *= 1 - rate
        curve.append(0.5 * x * x)
    at = stopped_at(curve)
    assert rates[at] > 2  # the largest stable rate is 2
    assert curve[at] < 1e12  # and it wasn't long after


def test_the_last_digit_of_a_float_is_no_divergence():
    constant = np.full(100, 2.3025851, dtype=np.float32)
    constant[50:] = np.nextafter(constant[0], np.float32(3))
    assert stopped_at(constant) is None


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.Adagrad])
def test_a_last_layer_of_zeros_has_no_early_noise_and_still_reaches_its_lowest_loss(kind):
    for seed in range(5):
        curve = real_curve(kind, seed)
        at = stopped_at(curve)
        smooth = np.convolve(curve, np.ones(5) / 5, "valid")
        assert at is None or at > np.argmin(smooth)


def real_curve(kind, seed, steps=100):
    """A sweep by a bare loop: noisy labels, so that the first updates help one batch and hurt the next."""
    torch.manual_seed(seed)
    inputs = torch.randn(512, 16)
    targets = (inputs @ torch.randn(16, 8) + 3 * torch.randn(512, 8)).argmax(1)
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 8))
    nn.init.zeros_(model[2].weight)
    nn.init.zeros_(model[2].bias)
    optimizer = kind(model.parameters(), lr=1.0)
    losses = []
    for rate in [*np.geomspace(1e-6, 1, steps), None]:
        rows = torch.randint(0, 512, (16,))
        loss = nn.functional.cross_entropy(model(inputs[rows]), targets[rows])
        losses.append(loss.item())
        if rate is not None:
            optimizer.zero_grad()
            loss.backward()
            optimizer.param_groups[0]["lr"] = float(rate)
            optimizer.step()
    return np.array(losses)


# Multiples of 1/64 below 2**20, factors that are powers of two: every sum and product is exact in a float64.
exact = st.integers(-(2**20), 2**20).map(lambda i: i / 64)


@given(
    losses=st.lists(exact, min_size=1, max_size=120),
    shift=exact,
    power=st.integers(-8, 8),
    least_rise=st.integers(0, 640).map(lambda i: i / 64),
)
def test_affine_equivariant(losses, shift, power, least_rise):
    scale = 2.0**power
    moved = [scale * loss + shift * scale for loss in losses]
    assert stopped_at(moved, least_rise=scale * least_rise) == stopped_at(losses, least_rise=least_rise)


@given(losses=st.lists(exact, min_size=6, max_size=60))
def test_never_stops_without_three_of_five_above_the_start(losses):
    at = stopped_at(losses, least_rise=0.0)
    if at is not None:
        start = sorted(losses[:5])[2]
        assert sum(loss > start for loss in losses[at - 4 : at + 1]) >= 3
