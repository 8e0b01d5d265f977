"""The moving averages against pandas, and the stop rule against its definition."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrfinder.rules.peers.ema import ema_from_first, ema_over_count, ema_unbiased_float32
from lrfinder.rules.peers.stop_ratio import length_until_ratio

losses_of = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=80)


@given(losses=losses_of)
def test_ema_from_first_is_pandas_unadjusted(losses: list[float]) -> None:
    expected = pd.Series(losses).ewm(alpha=0.05, adjust=False).mean()
    assert ema_from_first(losses, weight=0.05) == pytest.approx(expected.tolist(), rel=1e-9, abs=1e-9)


@given(losses=losses_of)
def test_ema_over_count_one_is_pandas_adjusted(losses: list[float]) -> None:
    expected = pd.Series(losses).ewm(alpha=0.02, adjust=True).mean()
    assert ema_over_count(losses, decay=0.98, first_count=1) == pytest.approx(expected.tolist(), rel=1e-9, abs=1e-9)


@given(losses=losses_of)
def test_ema_over_count_two_counts_a_loss_of_zero_first(losses: list[float]) -> None:
    expected = pd.Series([0.0, *losses]).ewm(alpha=0.02, adjust=True).mean()[1:]
    assert ema_over_count(losses, decay=0.98, first_count=2) == pytest.approx(expected.tolist(), rel=1e-9, abs=1e-9)


@given(losses=st.lists(st.floats(0.01, 1e3), min_size=1, max_size=80))
def test_single_precision_is_near_double_precision(losses: list[float]) -> None:
    expected = ema_over_count(losses, decay=0.98, first_count=1)
    assert ema_unbiased_float32(losses, decay=0.98).tolist() == pytest.approx(expected, rel=1e-4)


def test_losses_too_large_for_single_precision_become_infinite() -> None:
    assert np.isinf(ema_unbiased_float32([1.0, 1e39], decay=0.98)[1])


@given(smoothed=losses_of, ratio=st.sampled_from([4.0, 5.0]))
def test_a_sweep_ends_with_the_first_loss_above_the_ratio(smoothed: list[float], ratio: float) -> None:
    above = [loss > ratio * min(smoothed[: i + 1]) for i, loss in enumerate(smoothed)]
    length = length_until_ratio(smoothed, ratio=ratio)
    assert length == (above.index(True) + 1 if any(above) else len(smoothed))


@pytest.mark.parametrize(
    ("smoothed", "length"),
    [([], 0), ([1, 2, 4], 3), ([1, 2, 4.1, 9, 9], 3), ([5, 1, 4.5, 0.1], 3), ([-1, 0, 1], 1), ([0, 0, 1e-9, 0], 3)],
)
def test_where_a_sweep_ends(smoothed: list[float], length: int) -> None:
    assert length_until_ratio(smoothed, ratio=4) == length
