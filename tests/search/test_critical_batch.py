"""The critical batch of gradients that are drawn with a known mean and a known noise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lrfinder.records import GradientNoise
from lrfinder.search.critical_batch import CriticalBatch, critical_batch

SIZE, GROUPS, EACH = 50, 4, 32


def drawn(truth: float, batch: int, seed: int) -> GradientNoise:
    """Return what is kept of gradients g = G + noise of variance tr(Sigma) / batch, with tr(Sigma) / |G|^2 = truth."""
    draws = np.random.default_rng(seed)
    mean = draws.normal(size=SIZE)
    spread = math.sqrt(truth * (mean @ mean) / SIZE / batch)  # of each number, in the mean over a batch
    groups = mean + spread * draws.normal(size=(GROUPS, EACH, SIZE))
    return GradientNoise(
        lr=0.1,
        updates=75,
        seed=0,
        batch=batch,
        each=EACH,
        squares=tuple(float(x) for x in (groups**2).sum(axis=2).mean(axis=1)),
        means=tuple(float(x) for x in (groups.mean(axis=1) ** 2).sum(axis=1)),
    )


@pytest.mark.parametrize("batch", [4, 64])
@pytest.mark.parametrize("truth", [2.0, 100.0])
def test_it_is_the_ratio_of_noise_to_signal_whatever_the_batch(truth: float, batch: int) -> None:
    inverses = [1 / critical_batch(drawn(truth, batch, seed)).samples for seed in range(200)]
    error = np.std(inverses) / math.sqrt(len(inverses))
    assert abs(np.mean(inverses) - 1 / truth) < 4 * error < 0.1 / truth


@pytest.mark.parametrize("truth", [5.0, 50.0, 2000.0])
def test_nine_of_ten_intervals_hold_it(truth: float) -> None:
    found = [critical_batch(drawn(truth, 16, seed)) for seed in range(1000)]
    held = sum(one.low <= truth <= one.high for one in found) / len(found)
    assert 0.87 < held < 0.93


def test_where_the_mean_gradient_is_lost_in_the_noise_no_batch_is_too_large() -> None:
    found = [critical_batch(drawn(1e9, 16, seed)) for seed in range(100)]
    assert sum(math.isinf(one.high) for one in found) > 80
    assert all(one.low > 16 for one in found)


def test_gradients_without_noise_have_a_critical_batch_of_none() -> None:
    noise = GradientNoise(lr=0.1, updates=1, seed=0, batch=8, each=2, squares=(4.0, 4.0), means=(4.0, 4.0))
    assert critical_batch(noise) == CriticalBatch(samples=0.0, low=0.0, high=0.0)


@pytest.mark.parametrize(
    ("critical", "said"),
    [
        (CriticalBatch(samples=61.2, low=52.4, high=72.6), "about 61 samples (52 to 73, at 90 %)"),
        (CriticalBatch(samples=61.2, low=52.4, high=math.inf), "about 61 samples (52 or more, at 90 %)"),
        (CriticalBatch(samples=math.inf, low=52.4, high=math.inf), "at least 52 samples (at 90 %)"),
        (CriticalBatch(samples=math.inf, low=math.inf, high=math.inf), "larger than can be told"),
    ],
)
def test_it_says_what_is_known(critical: CriticalBatch, said: str) -> None:
    assert str(critical) == said


@pytest.mark.parametrize(
    "changes",
    [
        {"lr": 0.0},
        {"batch": 0},
        {"each": 1},
        {"means": (1.0,)},
        {"squares": (1.0, math.nan)},
        {"squares": (1.0, -1.0)},
        {"squares": (1.0,), "means": (1.0,)},
    ],
)
def test_what_no_gradients_have_is_refused(changes: dict) -> None:
    given = {"lr": 0.1, "updates": 1, "seed": 0, "batch": 8, "each": 2, "squares": (4.0, 4.0), "means": (1.0, 1.0)}
    with pytest.raises(ValueError, match=r"must be|are needed"):
        GradientNoise(**{**given, **changes})
