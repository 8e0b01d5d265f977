"""Rates that no formula gives: a table of updates and factors."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, field_validator

from lrfinder.schedules.base import Schedule, as_tuples
from lrfinder.schedules.epochs import refused_items

# A measured schedule of a hundred thousand updates needs about a hundred at 1e-3, a cosine ten thousand at 1e-9.
MOST_POINTS = 10_000

Point = tuple[Annotated[int, Field(ge=0)], Annotated[float, Field(ge=0, le=1)]]


def decay(u: int, length: int, *, points: tuple[Point, ...], between: str) -> float:  # noqa: ARG001 - points are absolute
    """Return the factor at u."""
    after = bisect.bisect_right(points, u, key=_update)
    i, a = points[after - 1]
    if after == len(points) or between == "hold":
        return a
    j, b = points[after]
    return a + (b - a) * ((u - i) / (j - i))


def _update(point: Point) -> int:
    return point[0]


class Table(Schedule):
    """Factors at given updates, counted from the end of the warm-up, with straight lines between them.

    factor(t) = a + (b - a) * (u - i) / (j - i)        for i <= u <= j,    u = t - W

    (i, a) and (j, b) are neighbors in `points`, a list of [update, factor] whose updates ascend from 0 and whose
    factors are 0 ... 1, shares of the peak. With `between` "hold" factor(t) = a for i <= u < j. Behind the last point
    its factor is held.

    For measured schedules (`lrfinder schedule refine`, Defazio et al., arXiv:2310.07831) and those of other frameworks
    that no formula here equals (`lrfinder schedule import`).
    """

    advice: ClassVar[str] = "rates that were measured, or brought from elsewhere, and that no formula gives"
    can_be_shortened: ClassVar[bool] = False
    formula = staticmethod(decay)
    name: Literal["table"] = "table"
    points: Annotated[tuple[Point, ...], BeforeValidator(as_tuples), Field(min_length=1, max_length=MOST_POINTS)]
    between: Literal["line", "hold"] = "line"

    @field_validator("points")
    @classmethod
    def _ascending(cls, points: tuple[Point, ...]) -> tuple[Point, ...]:
        if points[0][0] != 0:
            message = f"expected the first point at update 0, got one at {points[0][0]}"
            raise refused_items([((0, 0), message, points[0][0])])
        for index, ((i, _), (j, _)) in enumerate(pairwise(points), start=1):
            if j <= i:
                raise refused_items([((index, 0), f"expected updates in ascending order, got {j} behind {i}", j)])
        return points

    @classmethod
    def for_run(cls, *, steps: int, warmup: int) -> Self:
        """Return a straight line to zero, to be edited."""
        length = steps - warmup
        return cls(steps=steps, warmup=warmup, points=((0, 1.0), (length, 0.0)) if length else ((0, 1.0),))


def line_through(factors: Sequence[float], *, tolerance: float) -> tuple[tuple[int, float], ...]:
    """Return as few of the points (u, factors[u]) as a single pass finds whose lines are within `tolerance` of all.

    The first and the last are always among them. Each line is drawn on as long as its slope stays inside the cone that
    the points before it allow.
    """
    points = [(0, factors[0])]
    start, low, high = 0, float("-inf"), float("inf")
    for u in range(1, len(factors)):
        run = u - start
        slope = (factors[u] - factors[start]) / run
        if not low <= slope <= high:
            start = u - 1
            points.append((start, factors[start]))
            low, high, run = float("-inf"), float("inf"), 1
            slope = factors[u] - factors[start]
        low, high = max(low, slope - tolerance / run), min(high, slope + tolerance / run)
    if len(factors) > 1:
        points.append((len(factors) - 1, factors[-1]))
    return tuple(points)
