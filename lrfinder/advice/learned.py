"""Whether the short runs of a sweep learned anything, and if so, their valley."""

from __future__ import annotations

import math
import statistics

from lrfinder.records import SweepResult
from lrfinder.search.valley import LrProfile, Point, lr_profile

# A fall that counts: this many times what runs at rates too small to learn are off the start by chance, ...
CLEAR = 5.0
TOO_SMALL = 2.0  # ... which are those at least so many decades below the best.
ROUNDING = 1e-6  # of the loss: single precision has seven digits
FIRST = 3  # runs around the sweep's pick, at three rates: with fewer the best one has no neighbour on either side
# A net on a plateau falls a little at first, at almost any rate: its last layer learns how often each class comes. Then
# the first runs fell by less than LITTLE of the loss, and all alike, up to ALIKE of that fall. In 116 sweeps of 30
# real tasks the two never meet: falls below 0.06 differ by 0.97 of themselves between the three rates, and falls that
# are alike are above 0.37. In 21 sweeps of seven tasks with plateaus they do in the two that took the beginning for
# the whole (falls of 0.01, alike up to 0.04), one of them confident, with a regret of 0.98.
LITTLE, ALIKE = 0.05, 0.1
# Of the loss. Where a continuous sweep saw nothing either, so small a fall of the best run is none. 36 tasks: at least
# 0.06, but for two on a plateau that no run of 75 updates leaves: up to 0.0004, and a regret of 1.
NOTHING = 0.01


def profile_if_learned(result: SweepResult) -> LrProfile | None:
    """Return the valley of the short runs, or None where none of them came clearly below the start.

    The held-out data, the initial weights and every draw of the evaluation are the same for all runs, so a fall is
    the training's own; what it is compared with are runs whose rates are too small to learn at, where there are some.
    """
    valley = lr_profile(result.runs, result.settings.run_steps)
    if valley is None or valley.fall <= ROUNDING * max(abs(valley.start), ROUNDING):
        return None
    highest = valley.lowest.x - TOO_SMALL
    off = [
        abs(run.loss - run.initial_loss)
        for run in result.runs
        if math.log10(run.plan.lr) <= highest and run.loss is not None and run.initial_loss is not None
    ]
    chance = statistics.median(off) if off else 0.0
    return valley if valley.fall > CLEAR * chance else None


def is_significant(valley: LrProfile) -> bool:
    """Tell whether the runs fell so far that it is learning, also where no continuous sweep bears it out."""
    return valley.fall >= NOTHING * abs(valley.start)


def found_nothing(result: SweepResult) -> bool:
    """Tell whether the runs around the start of the search found nothing, or only what any rate finds at first.

    None of the FIRST runs fell at all; or all fell alike, and by LITTLE.
    """
    first = lr_profile(result.runs[:FIRST], result.settings.run_steps)
    if first is None or len(first.points) < FIRST:
        return False
    alike = max(point.loss for point in first.points) - first.lowest.loss <= ALIKE * first.fall
    return first.fall <= 0 or (alike and first.fall < LITTLE * abs(first.start))


def untrainable_runs(valley: LrProfile) -> tuple[Point, ...]:
    """Return the runs whose rates are too small to learn at, if the best one's is right."""
    return tuple(point for point in valley.points if point.x <= valley.lowest.x - TOO_SMALL)
