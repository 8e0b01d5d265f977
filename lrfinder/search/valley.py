"""Where short runs of one length end lowest: the valley of the final loss over log10(rate)."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from lrfinder.records import ShortRun

# A rate beyond a cliff loses more than CLIFF of the fall; one CLEAR decades before it, nearly the trials' distance, is
# mostly off it; more than COST of the fall isn't paid for that. 36 oracles of runs of 400 updates, tried with one seed
# from three centers, judged by the two others: mean (worst) regret 0.0075 (0.12) instead of 0.0104 (0.34); 0.0101
# (0.27) at a CLEAR of 0.15, 0.0088 (0.13) at 0.2; the same at a CLIFF of 0.65 or 0.8 and a COST of 0.03 or 0.1. Six of
# the 36 have such a cliff, none of the thirteen public ones. On a plateau with twelve seeds two end untrained at its
# oracle's best rate, 0.0056, and none at 0.0036.
CLIFF, CLEAR, COST = 0.5, 0.25, 0.05


@dataclass(frozen=True, slots=True)
class Point:
    """What the short runs at one rate reached: `x` is log10(rate), `loss` their mean; `trained`: none blew up."""

    x: float
    loss: float
    trained: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LrProfile:
    """The final losses of runs of `steps` updates against x = log10(rate), in ascending order, and their lowest point.

    `start` is the loss before any update; a run that diverged, or ended above it, counts as having ended there.
    `x` is the vertex of the parabola through the lowest point and its two neighbours, kept between the midpoints to
    them; at an end of what was measured it is the lowest point itself, and `bracketed` is False.
    """

    steps: int
    points: tuple[Point, ...]
    start: float
    x: float
    bracketed: bool

    @property
    def lowest(self) -> Point:
        """The point with the lowest loss; of equals, the one at the lowest rate."""
        return min(self.points, key=lambda point: point.loss)

    @property
    def fall(self) -> float:
        """How far the best run came below the start."""
        return self.start - self.lowest.loss

    def middle(self, share: float) -> float:
        """Return log10 of the rate in the middle of the `stretch`: of rates that can't be told apart, the safest."""
        return sum(self.stretch(share)) / 2

    def level(self, share: float) -> bool:
        """Tell whether the lowest point has a neighbour on each side, or an only one within `share` of the fall.

        Where it has, going on beyond the end would gain little.
        """
        at = self.points.index(self.lowest)
        beside = [self.points[index] for index in (at - 1, at + 1) if 0 <= index < len(self.points)]
        return self.bracketed or any(point.loss <= self.lowest.loss + share * self.fall for point in beside)

    def stretch(self, share: float) -> tuple[float, float]:
        """Return the rates (log10) around the lowest point that lose at most `share` of the fall to it.

        Between the points the loss is taken as linear in log10(rate); beyond the last one nothing is claimed.
        """
        limit = self.lowest.loss + share * self.fall
        at = self.points.index(self.lowest)
        left, right = self.points[at::-1], self.points[at:]
        return _reach(left, limit), _reach(right, limit)

    def off_the_cliff(self, x: float) -> float:
        """Return `x`, or a rate (log10) below it where the next one above the lowest point is beyond a cliff.

        min(x, max(x_lowest - CLEAR, lower end of stretch(COST)))

        That one lost more than CLIFF of the fall. Where a cliff lies, and whether a rate just before it goes over it,
        differs between seeds: the distance costs a little for sure, and saves all that training gains now and then.
        """
        at = self.points.index(self.lowest)
        above = self.points[at + 1 : at + 2]
        if not any(point.loss > self.lowest.loss + CLIFF * self.fall for point in above):
            return x
        return min(x, max(self.lowest.x - CLEAR, self.stretch(COST)[0]))

    def half_width(self, share: float) -> float:
        """Return half the distance (decades) between the rates on both sides that lose `share` of the fall.

        Beyond the last point of a side the loss goes on as between its last two; infinite where that rises no more, or
        where a side has no point.
        """
        limit = self.lowest.loss + share * self.fall
        at = self.points.index(self.lowest)
        return (_distance(self.points[at::-1], limit) + _distance(self.points[at:], limit)) / 2


def lr_profile(runs: Iterable[ShortRun], steps: int) -> LrProfile | None:
    """Return the valley of the runs of `steps` updates; None where none of them has anything to say."""
    usable = [run for run in runs if run.plan.steps == steps and (run.loss is not None or run.stop.blew_up)]
    starts = [run.initial_loss for run in usable if run.initial_loss is not None and math.isfinite(run.initial_loss)]
    if not usable or not starts:
        return None
    start = sum(starts) / len(starts)
    points = _points(usable, start)
    at = min(range(len(points)), key=lambda index: points[index].loss)
    bracketed = 0 < at < len(points) - 1
    x = _vertex(points[at - 1], points[at], points[at + 1]) if bracketed else points[at].x
    return LrProfile(steps=steps, points=points, start=start, x=x, bracketed=bracketed)


def _points(runs: list[ShortRun], start: float) -> tuple[Point, ...]:
    by_rate: dict[float, list[ShortRun]] = defaultdict(list)
    for run in runs:
        by_rate[run.plan.lr].append(run)
    return tuple(
        Point(
            x=math.log10(rate),
            loss=sum(_reached(run, start) for run in same) / len(same),
            trained=all(run.loss is not None for run in same),
        )
        for rate, same in sorted(by_rate.items())
    )


def _reached(run: ShortRun, start: float) -> float:
    """Return the loss that a run counts with: how far above the start it ended says nothing about the others."""
    own = run.initial_loss if run.initial_loss is not None and math.isfinite(run.initial_loss) else start
    return start if run.loss is None else min(run.loss - own, 0.0) + start  # repeats differ in where they begin


def _vertex(left: Point, middle: Point, right: Point) -> float:
    before, after = middle.x - left.x, right.x - middle.x
    slope_before = (middle.loss - left.loss) / before
    slope_after = (right.loss - middle.loss) / after
    bend = slope_after - slope_before
    if bend <= 0:  # three equal losses
        return middle.x
    # The parabola's slope is that of each chord at the chord's midpoint, and linear in between.
    vertex = middle.x - before / 2 - slope_before * (before + after) / 2 / bend
    return min(max(vertex, middle.x - before / 2), middle.x + after / 2)


def _reach(points: tuple[Point, ...], limit: float) -> float:
    """Walk away from the lowest point, the first of `points`, and return where the loss crosses `limit`."""
    for inner, outer in itertools.pairwise(points):
        if outer.loss > limit:
            return inner.x + (outer.x - inner.x) * (limit - inner.loss) / (outer.loss - inner.loss)
    return points[-1].x


def _distance(points: tuple[Point, ...], limit: float) -> float:
    """Return how far from the lowest point, the first point, the loss crosses `limit`, or would on the last line."""
    lowest, last = points[0], points[-1]
    if any(point.loss > limit for point in points):
        return abs(_reach(points, limit) - lowest.x)
    rise = last.loss - points[-2].loss if len(points) > 1 else 0.0
    if rise <= 0:
        return math.inf
    return abs(last.x - lowest.x) + abs(last.x - points[-2].x) * (limit - last.loss) / rise
