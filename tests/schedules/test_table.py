"""The table of points, against NumPy's interpolation, and the lines that stand for many points."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lrfinder.schedules import Table
from lrfinder.schedules.table import line_through

share = st.floats(0, 1)
points = st.lists(st.tuples(st.integers(1, 500), share), max_size=20, unique_by=lambda point: point[0]).flatmap(
    lambda rest: share.map(lambda first: ((0, first), *sorted(rest)))
)


@given(points, st.integers(1, 600))
def test_lines_are_numpys_interpolation(of: tuple[tuple[int, float], ...], steps: int) -> None:
    table = Table(steps=steps, points=of)
    updates, factors = zip(*of, strict=True)
    expected = np.interp(np.arange(steps), updates, factors)
    assert [table.factor(t) for t in range(steps)] == pytest.approx(expected.tolist(), abs=1e-15)


@given(points, st.integers(1, 600))
def test_hold_is_the_last_point_before(of: tuple[tuple[int, float], ...], steps: int) -> None:
    table = Table(steps=steps, points=of, between="hold")
    for t in range(steps):
        assert table.factor(t) == [factor for update, factor in of if update <= t][-1]


def test_the_points_count_from_the_end_of_the_warmup() -> None:
    table = Table(steps=7, warmup=2, points=((0, 1.0), (4, 0.0)))
    assert [table.factor(t) for t in range(8)] == [0.5, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0]


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ((), "at least 1"),
        (((1, 1.0),), "first point at update 0"),
        (((0, 1.0), (0, 0.5)), "ascending order, got 0 behind 0"),
        (((0, 1.0), (5, 0.5), (3, 0.2)), "ascending order, got 3 behind 5"),
        (((0, 1.5),), "less than or equal to 1"),
        (((0, -0.1),), "greater than or equal to 0"),
        (((0, math.nan),), "finite"),
        (((0.0, 1.0),), "valid integer"),
        (((0, 1.0, 2.0),), "at most 2 items"),
        (tuple((u, 1.0) for u in range(10_001)), "at most 10000"),
    ],
)
def test_points_that_cannot_be_meant(wrong: Any, complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        Table(steps=10, points=wrong)


@given(st.lists(share, min_size=1, max_size=200), st.sampled_from([0.0, 1e-9, 1e-3, 0.1]))
def test_lines_stay_within_the_tolerance(factors: list[float], tolerance: float) -> None:
    table = Table(steps=len(factors), points=line_through(factors, tolerance=tolerance))
    worst = max(abs(table.factor(u) - factor) for u, factor in enumerate(factors))
    assert worst <= tolerance + 1e-12
    assert {(0, factors[0]), (len(factors) - 1, factors[-1])} <= set(table.points)


def test_a_trapezoid_needs_its_corners_alone() -> None:
    up, down = [t / 100 for t in range(100)], [1 - t / 400 for t in range(400)]
    assert line_through([*up, *down], tolerance=1e-9) == ((0, 0.0), (100, 1.0), (499, down[-1]))
