"""`short-runs`: what runs of their own, each from the same start, say about the rates."""

from __future__ import annotations

from math import log10

from lrfinder.numbers import interval, rate
from lrfinder.records import Band, Pick, Status
from lrfinder.search.valley import Valley

SHORT_RUNS = "short-runs"

# Of the best run's fall. Within so much of it a run of fifty updates can't tell rates apart. On thirteen real tasks,
# three seeds, the picks' mean (worst) regret is 0.024 (0.08) at 0.15, 0.026 (0.10) at 0.1, 0.031 (0.19) at 0.05, and
# 0.049 (0.37) at the lowest point itself; the stretch met the near-optimal rates (regret <= 0.02) of a run of 400
# updates in 90 % of cases. It was chosen on these tasks, so it flatters them.
NEARLY = 0.15
TRAINS = 0.5  # the trainable band: a run learns at least half of what the best one learns
WIDEST_CONFIDENT = 1.5  # decades; a stated interval any wider hardly narrows the trainable rates
FARTHEST_CONFIDENT = 1.25  # decades between where a sweep falls fastest and where runs of their own end lowest
# Decades. A pick that the short runs moved farther than this from where the sweep falls fastest is one that only one of
# the two kinds of evidence bears. It happens on one of thirteen real tasks, harmlessly, and in one of three seeds on a
# plateau that runs of fifty updates hardly leave: there the moved pick had a regret of 0.85.
FARTHEST_MOVED = 0.3


def short_runs(valley: Valley, steepest: Pick | None) -> Pick:
    """Return, of the rates whose run fell within NEARLY of the best one's fall, the one nearest to `steepest`.

    Every run began from the same weights, optimizer state and batches, so nothing has been used up and nothing is
    remembered: the run that fell furthest is the fastest decrease per update. A run's end is flat around its lowest
    point, though, and a long run can bear less than a short one; where the continuous sweep falls fastest decides.
    Without it the pick is the lowest point. The interval is the stretch.
    """
    low, high = valley.stretch(NEARLY)
    guide = valley.x if steepest is None or steepest.lr is None else log10(steepest.lr)
    x = min(max(guide, low), high)
    doubts = _doubts(valley, guide, x, high - low)
    why = (
        f"{len(valley.points)} runs of {valley.steps} updates, each from the same start, fell furthest at "
        f"{rate(10**valley.x)} and within {NEARLY:.0%} of that from {interval(10**low, 10**high)}"
    )
    if steepest is not None:
        why += "; this is the nearest of those rates to where the sweep falls fastest"
    return Pick(
        rule=SHORT_RUNS,
        lr=float(10**x),
        low=float(10**low),
        high=float(10**high),
        status=Status.UNCERTAIN if doubts else Status.CONFIDENT,
        why="; ".join((why, *doubts)),
    )


def trains(valley: Valley) -> Band:
    """Return the rates around the best run at which a run learns at least TRAINS of what the best one does."""
    low, high = valley.stretch(TRAINS)
    return Band(low=float(10**low), high=float(10**high))


def _doubts(valley: Valley, guide: float, x: float, width: float) -> list[str]:
    found = []
    if not valley.bracketed:
        found.append("the best run is the last one on its side, so the best rate may lie beyond")
    if width > WIDEST_CONFIDENT:
        found.append(f"runs {width:.1f} decades apart ended nearly alike")
    if abs(guide - valley.x) > FARTHEST_CONFIDENT:
        found.append(f"the sweep falls fastest {abs(guide - valley.x):.1f} decades away")
    elif abs(guide - x) > FARTHEST_MOVED:
        found.append(f"the two disagree: the sweep falls fastest at {rate(10**guide)}")
    return found
