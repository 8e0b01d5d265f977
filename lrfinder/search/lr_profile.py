"""The final loss of short runs of one length against log10(rate), and where it is lowest."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lrfinder.records import Metric, ShortRun

CLIFF = 0.5  # of the fall: a rate that loses more is beyond a cliff: advice/README.md#cliff-clear-cost
CLEAR = 0.25  # decades: the distance that is kept from a cliff: advice/README.md#cliff-clear-cost
ALIKE = 0.8  # of the larger rise of two controls: nearer, the rate has no part in it
COST = 0.05  # of the fall: what that distance may cost at most: advice/README.md#cliff-clear-cost


@dataclass(frozen=True, slots=True)
class RunLoss:
    """What the short runs at one rate reached: `x` is log10(rate), `loss` their mean; `trained`: none diverged."""

    x: float
    loss: float
    trained: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LrProfile:
    """The final losses of runs of `steps` updates against x = log10(rate), in ascending order, and their lowest point.

    `start` is the loss before any update, or where `drift` takes it at any rate; a run that diverged, or ended above
    it, counts as if it had ended there.
    `x` is the vertex of the parabola through the lowest point and its two neighbours, kept between the midpoints to
    them. If the lowest point has no neighbour on one side, `x` is that point, and `bracketed` is False.
    """

    steps: int
    points: tuple[RunLoss, ...]
    start: float
    x: float
    bracketed: bool
    drift: float = 0.0

    @property
    def lowest(self) -> RunLoss:
        """The point with the lowest loss; of equals, the one at the lowest rate."""
        return min(self.points, key=lambda point: point.loss)

    @property
    def fall(self) -> float:
        """How far the best run came below the start."""
        return self.start - self.lowest.loss

    def near_best_middle(self, share: float) -> float:
        """Return log10 of the rate in the middle of `near_best`: the safest of rates that seem equally good."""
        return sum(self.near_best(share)) / 2

    def level(self, share: float) -> bool:
        """Tell whether the lowest point has a neighbour on each side, or a single one within `share` of the fall.

        If so, a run beyond the end would gain little.
        """
        at = self.points.index(self.lowest)
        beside = [self.points[index] for index in (at - 1, at + 1) if 0 <= index < len(self.points)]
        return self.bracketed or any(point.loss <= self.lowest.loss + share * self.fall for point in beside)

    def near_best(self, share: float) -> tuple[float, float]:
        """Return the rates (log10) around the lowest point that lose at most `share` of the fall to it.

        Between two points the loss is taken as linear in log10(rate); the range ends at the last point.
        """
        limit = self.lowest.loss + share * self.fall
        at = self.points.index(self.lowest)
        left, right = self.points[at::-1], self.points[at:]
        return _reach(left, limit), _reach(right, limit)

    def cliff_margin(self, x: float) -> float:
        """Return `x`, or a lower rate (log10) if the next rate above the lowest point is beyond a cliff.

        min(x, max(x_lowest - CLEAR, lower end of near_best(COST)))

        Beyond a cliff means: it lost more than CLIFF of the fall. Where a cliff lies differs between seeds. Keeping a
        distance always costs a little, and sometimes saves all that training gains.
        """
        at = self.points.index(self.lowest)
        above = self.points[at + 1 : at + 2]
        if not any(point.loss > self.lowest.loss + CLIFF * self.fall for point in above):
            return x
        return min(x, max(self.lowest.x - CLEAR, self.near_best(COST)[0]))

    def highest_trained(self, share: float) -> float:
        """Return log10 of the highest rate that was tried and lost at most `share` of the fall, up from the lowest."""
        limit = self.lowest.loss + share * self.fall
        above = self.points[self.points.index(self.lowest) :]
        return list(itertools.takewhile(lambda point: point.loss <= limit, above))[-1].x

    def lowest_failed(self, above: float) -> float:
        """Return log10 of the lowest rate over `above` that is beyond a cliff; infinite if none is."""
        limit = self.lowest.loss + CLIFF * self.fall
        return min((point.x for point in self.points if point.x > above and point.loss > limit), default=math.inf)

    def lost(self, x: float) -> float:
        """Return which share of the fall the rate 10**x lost, linear in x between points; NaN outside of them."""
        for left, right in itertools.pairwise(self.points):
            if left.x <= x <= right.x:
                loss = left.loss + (right.loss - left.loss) * (x - left.x) / (right.x - left.x)
                return (loss - self.lowest.loss) / self.fall
        return math.nan

    @property
    def roughness(self) -> float:
        """How far, as a share of the fall, the points are from going down to the lowest and up again: chance.

        The largest rise on the way down, or fall on the way up.
        """
        at = self.points.index(self.lowest)
        worst = 0.0
        for side in (self.points[at::-1], self.points[at:]):
            highest = -math.inf
            for point in side:
                worst, highest = max(worst, highest - point.loss), max(highest, point.loss)
        return worst / self.fall

    @property
    def open_end(self) -> float:
        """What the last step to the lowest point gained, as a share of the fall, if it is an end; else 0.

        The loss is about convex there: a step beyond the end would gain no more.
        """
        if self.bracketed or len(self.points) == 1:
            return 0.0
        beside = self.points[1] if self.lowest is self.points[0] else self.points[-2]
        return (beside.loss - self.lowest.loss) / self.fall

    def lost_beyond(self, x: float) -> float:
        """Return which share of the fall a rate above all points loses, on the line through the last two.

        Infinite if that line doesn't rise, or if there is a single point.
        """
        last = self.points[-1]
        rise = last.loss - self.points[-2].loss if len(self.points) > 1 else 0.0
        if rise <= 0:
            return math.inf
        ahead = (x - last.x) / (last.x - self.points[-2].x)
        return (last.loss + rise * ahead - self.lowest.loss) / self.fall


def drift_of(runs: Iterable[ShortRun]) -> tuple[float, float]:
    """Return how far the training loss and the held-out loss rise whatever the rate; 0 if they don't.

    That is what two controls say whose rates are decades apart, if their losses rise alike.
    """
    rises = [
        (run.rise, run.loss - run.initial_loss)
        for run in runs
        if run.plan.control and run.rise > 0 and run.loss is not None and run.initial_loss is not None
    ]
    trained = [rise for rise, _ in rises]
    if len(rises) < 2 or min(trained) < ALIKE * max(trained):  # noqa: PLR2004 - one may have diverged
        return 0.0, 0.0
    return max(trained), max(0.0, sum(rise for _, rise in rises) / len(rises))


def lr_profile(runs: Iterable[ShortRun], steps: int, drift: float | None = None) -> LrProfile | None:
    """Return the profile of the runs of `steps` updates; None if none of them reached a loss or diverged.

    By `drift` the held-out loss rises at any rate; None: the controls among the runs tell.
    """
    runs = tuple(runs)
    drift = drift_of(runs)[1] if drift is None else drift
    usable = [run for run in runs if run.plan.steps == steps and (run.loss is not None or run.stop.blew_up)]
    began = [loss for loss in begins(usable) if loss is not None]
    if not usable or not began:
        return None
    start = sum(began) / len(began) + drift
    points = _points(usable, start, drift)
    at = min(range(len(points)), key=lambda index: points[index].loss)
    bracketed = 0 < at < len(points) - 1
    x = _vertex(points[at - 1], points[at], points[at + 1]) if bracketed else points[at].x
    return LrProfile(steps=steps, points=points, start=start, x=x, bracketed=bracketed, drift=drift)


def begins(runs: Sequence[ShortRun]) -> list[float | None]:
    """Return what the loss of each run is compared with: its first one, or None if that isn't a number.

    A run that is judged by its last training losses (a script's) would be compared with a single batch. Instead that is
    what the control at the lowest rate reached on the same batches, if one was made.
    """
    controls = [run for run in runs if run.plan.control and run.metric == Metric.TRAIN and run.loss is not None]
    unlearned = min(controls, key=lambda run: run.plan.lr).loss if controls else None
    firsts = (unlearned if unlearned is not None and run.metric == Metric.TRAIN else run.initial_loss for run in runs)
    return [None if first is None or not math.isfinite(first) else first for first in firsts]


def _points(runs: list[ShortRun], start: float, drift: float) -> tuple[RunLoss, ...]:
    by_rate: dict[float, list[tuple[ShortRun, float | None]]] = defaultdict(list)
    for run, began in zip(runs, begins(runs), strict=True):
        by_rate[run.plan.lr].append((run, began))
    return tuple(
        RunLoss(
            x=math.log10(rate),
            loss=sum(_reached(run, began, start, drift) for run, began in same) / len(same),
            trained=all(run.loss is not None for run, _ in same),
        )
        for rate, same in sorted(by_rate.items())
    )


def _reached(run: ShortRun, began: float | None, start: float, drift: float) -> float:
    """Return the loss that a run counts with: at most the start, since how far above it a run ends is chance."""
    own = start if began is None else began + drift
    return start if run.loss is None else min(run.loss - own, 0.0) + start  # repeats differ in where they begin


def _vertex(left: RunLoss, middle: RunLoss, right: RunLoss) -> float:
    before, after = middle.x - left.x, right.x - middle.x
    slope_before = (middle.loss - left.loss) / before
    slope_after = (right.loss - middle.loss) / after
    bend = slope_after - slope_before
    if bend <= 0:  # three equal losses
        return middle.x
    # The parabola's slope is that of each chord at the chord's midpoint, and linear in between.
    vertex = middle.x - before / 2 - slope_before * (before + after) / 2 / bend
    return min(max(vertex, middle.x - before / 2), middle.x + after / 2)


def _reach(points: tuple[RunLoss, ...], limit: float) -> float:
    """Walk away from the lowest point, the first of `points`, and return where the loss crosses `limit`."""
    for inner, outer in itertools.pairwise(points):
        if outer.loss > limit:
            return inner.x + (outer.x - inner.x) * (limit - inner.loss) / (outer.loss - inner.loss)
    return points[-1].x
