"""Labels that share a strip of the picture without overlapping: each is given a lane and a side of its tick."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a label goes: `lane` 0 is next to the ticks; `rightward` labels start at their tick, others end there."""

    lane: int
    rightward: bool


def places(
    positions: Sequence[float], widths: Sequence[float], *, left: float, right: float, gap: float
) -> tuple[Place, ...]:
    """Place labels of `widths`, in pixels, at ticks at rising `positions` between `left` and `right`.

    A label that would stick out on one side of its tick goes to the other. Of the rest, the first ones run leftward
    and the last ones rightward, split where the fewest lanes are needed. No two labels of a lane come closer than
    `gap`, and no label is crossed by the leader that joins another one to its tick; where that can't be had (long
    labels in a corner), each label has a lane of its own, and leaders do cross.
    Raises ValueError for falling positions.
    """
    if any(a > b for a, b in pairwise(positions)):
        raise ValueError(f"positions must not fall, got {list(positions)}")
    best: list[Place] | None = None
    for split in range(len(positions) + 1):
        sides = [
            _side(x, width, left=left, right=right, wanted=i >= split)
            for i, (x, width) in enumerate(zip(positions, widths, strict=True))
        ]
        lanes = _lanes(positions, [_span(*one, gap) for one in zip(positions, widths, sides, strict=True)])
        if lanes is not None and (best is None or max(lanes, default=0) < max(place.lane for place in best)):
            best = [Place(lane=lane, rightward=side) for lane, side in zip(lanes, sides, strict=True)]
    if best is None:
        middle = (left + right) / 2
        best = [Place(lane=i, rightward=x < middle) for i, x in enumerate(positions)]
    return tuple(best)


def _side(position: float, width: float, *, left: float, right: float, wanted: bool) -> bool:
    """Return whether a label runs rightward: as `wanted`, unless it would stick out and the other side has room."""
    fits_leftward, fits_rightward = position - width >= left, position + width <= right
    return wanted if fits_leftward == fits_rightward else fits_rightward


def _span(position: float, width: float, rightward: bool, gap: float) -> tuple[float, float]:  # noqa: FBT001
    return (position, position + width + gap) if rightward else (position - width - gap, position)


def _lanes(positions: Sequence[float], spans: Sequence[tuple[float, float]]) -> list[int] | None:
    """Return the lanes, or None where there is no solution.

    A label lies below every label whose tick is in its span, since that tick's leader ends above it; labels whose
    spans overlap otherwise only need lanes of their own.
    """
    count = len(positions)
    above = [{j for j in range(count) if j != i and low < positions[j] < high} for i, (low, high) in enumerate(spans)]
    lanes: dict[int, int] = {}
    while len(lanes) < count:
        ready = [i for i in range(count) if i not in lanes and above[i] <= lanes.keys()]
        if not ready:  # two labels reach each other's ticks
            return None
        i = ready[0]
        taken = {lane for j, lane in lanes.items() if spans[j][0] < spans[i][1] and spans[i][0] < spans[j][1]}
        lanes[i] = 1 + max((lanes[j] for j in above[i]), default=-1)
        while lanes[i] in taken:
            lanes[i] += 1
    return [lanes[i] for i in range(count)]
