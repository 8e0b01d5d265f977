"""Whether the short runs of a sweep learned anything, and if so, their valley."""

from __future__ import annotations

import math
import statistics

from lrfinder.records import SweepResult
from lrfinder.search.valley import Point, Valley, find_valley

# A fall that counts: this many times what runs at rates too small to learn are off the start by chance, ...
CLEAR = 5.0
TOO_SMALL = 2.0  # ... which are those at least so many decades below the best.
ROUNDING = 1e-6  # of the loss: single precision has seven digits


def learned(result: SweepResult) -> Valley | None:
    """Return the valley of the short runs, or None where none of them came clearly below the start.

    The held-out data, the initial weights and every draw of the evaluation are the same for all runs, so a fall is
    the training's own; what it is compared with are runs whose rates are too small to learn at, where there are some.
    """
    valley = find_valley(result.runs, result.settings.run_steps)
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


def too_small(valley: Valley) -> tuple[Point, ...]:
    """Return the runs whose rates are too small to learn at, if the best one's is right."""
    return tuple(point for point in valley.points if point.x <= valley.lowest.x - TOO_SMALL)
