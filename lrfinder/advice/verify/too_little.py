"""Whether the first trials of a verification learned anything that generalizes: advice/README.md#too_little."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from lrfinder.advice.sweep.evidence import FIRST, NOTHING
from lrfinder.advice.verify.budget import FIRST_RUNS
from lrfinder.records import ShortRun
from lrfinder.search.lr_profile import LrProfile, lr_profile

TOO_LITTLE = 0.1  # of what the sweep's own short runs learned: advice/README.md#too_little


def least_fall(profile: LrProfile, swept: LrProfile | None) -> float:
    """Return the fall below which trials learned next to nothing; `swept` are the sweep's own short runs."""
    return max(NOTHING * abs(profile.start), 0.0 if swept is None else TOO_LITTLE * swept.fall)


def learned_nothing(
    runs: Sequence[ShortRun], first_rates: Collection[float], *, swept: LrProfile | None, drift: float
) -> bool:
    """Tell whether `runs` of one length, on the same few batches, learned next to nothing.

    Three rates come first. If the lowest of them is the best, and the others end above where they began, those learn a
    few batches by heart: then lower ones tell, as long as they end lower. Trials that diverged learned too fast.
    `drift` is how far the held-out loss rises at any rate.
    """
    beginning = sorted((run for run in runs if run.plan.lr in first_rates), key=lambda run: run.plan.lr)
    if len(beginning) < FIRST:
        return False
    first = lr_profile(beginning, beginning[0].plan.steps, drift)
    if first is None or not all(point.trained for point in first.points):
        return False
    enough = least_fall(first, swept)
    by_heart = all(run.loss is not None and run.loss > first.start + enough for run in beginning[1:])
    if first.fall >= enough or not by_heart:
        return first.fall < enough
    every = lr_profile(runs, first.steps, drift)
    if every is None or (len(runs) < FIRST_RUNS and every.lowest == every.points[0]):
        return False
    return every.fall < enough
