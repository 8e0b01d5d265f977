"""`short-runs`: what runs of their own, each from the same start, say about the rates."""

from __future__ import annotations

from math import log10, sqrt

from lrfinder.formatting import format_lr
from lrfinder.options import PER_DECADE
from lrfinder.records import Band, OptimizerFacts, Pick, Status, SweepSettings
from lrfinder.search.drift import drift_between, expected_shift
from lrfinder.search.passes import REFERENCE_RUN
from lrfinder.search.valley import LrProfile

SHORT_RUNS = "short-runs"

# Decades by which a continuous sweep of PER_DECADE updates a decade (the default) finds the best rate too early: it has
# learned at the lower rates before. By 0.2 in the median of thirteen real tasks, five seeds, for runs of 75 updates;
# half of that, since a rate too high costs more. A sweep four times as long finds it by another 0.1 earlier (mean of
# the thirteen), so the correction grows with the square root of the sweep's length.
EARLY = 0.1
# Of the best run's fall. Within so much of it a short run can't tell rates apart. On thirteen real tasks, five seeds,
# the picks' mean regret hardly depends on it (0.0153 at 0.05, 0.0148 at 0.1 and 0.15, 0.0155 at 0.2), and the rates
# between met a near-optimal one (regret <= 0.02) of a run of 400 updates in 92, 97 and 98 % of cases.
NEARLY = 0.15
LEVEL = 0.05  # of the fall: where the last two runs on a side differ by less, little is gained beyond them
TRAINS = 0.5  # the trainable band: a run learns at least half of what the best one learns
WIDEST_CONFIDENT = 1.5  # decades; a stated interval any wider hardly narrows the trainable rates
# Decades between the two estimates: two steps of the search. On thirteen real tasks, five seeds, none are farther
# apart.
FARTHEST_CONFIDENT = 0.8


def sweep_estimate(steepest: Pick | None, settings: SweepSettings) -> float | None:
    """Return log10 of the best rate by the continuous sweep: where it falls fastest, corrected for its being EARLY.

    x = log10(rate) + EARLY sqrt(n / PER_DECADE),   n = steps / log10(max_lr / min_lr)

    None where the sweep allows no such pick.
    """
    if steepest is None or steepest.lr is None:
        return None
    per_decade = settings.steps / log10(settings.max_lr / settings.min_lr)
    return log10(steepest.lr) + EARLY * sqrt(per_decade / PER_DECADE)


def short_runs(valley: LrProfile, guide: float | None, optimizer: OptimizerFacts, steps: int | None = None) -> Pick:
    """Return the mean (of log10) of two estimates of the best rate, kept inside the interval; for a run of `steps`.

    One is the middle of the rates whose run fell within NEARLY of the best one's fall, which are the interval; the
    other is `guide`, that of the continuous sweep; without it the middle is all, and it and the interval are moved by
    `shift_alone`.

    Every run began from the same weights, optimizer state and batches, so nothing has been used up and nothing is
    remembered: the run that fell furthest is the fastest decrease per update. A run's end is flat around its lowest
    point, though, and beyond it there may be a cliff: of rates that can't be told apart, the middle is the safest. A
    short run may bear more than a long one, and a sweep that has learned before falls too early; so the two err by
    different causes, and halves are as good as any weights that were tried. Mean (worst) regret of a run of 400
    updates, thirteen real tasks, five seeds: 0.018 (0.18) for the middle, 0.030 (0.09) for the sweep, 0.0138 (0.09) a
    third of the way between, 0.0148 (0.06) halfway.
    """
    x = middle = valley.middle(NEARLY)
    low, high = valley.stretch(NEARLY)
    why = (
        f"{len(valley.points)} runs of {valley.steps} updates, each from the same start, fell furthest at "
        f"{format_lr(10**valley.lowest.x)} and within {NEARLY:.0%} of that around {format_lr(10**middle)}"
    )
    if guide is not None:
        x = min(max((middle + guide) / 2, low), high)
        why += "; this is halfway from there to where the sweep says it is"
    elif shift := shift_alone(valley, optimizer, steps):
        x, low, high = x + shift, low + shift, high + shift
        lets = drift_between(optimizer.name, shift, short=valley.steps, long=reference_length(steps))
        why += f"; {lets}, so {format_lr(10**x)} is taken"
    doubts = _doubts(valley, guide, high - low)
    return Pick(
        rule=SHORT_RUNS,
        lr=float(10**x),
        low=float(10**low),
        high=float(10**high),
        status=Status.UNCERTAIN if doubts else Status.CONFIDENT,
        why="; ".join((why, *doubts)),
    )


def shift_alone(valley: LrProfile, optimizer: OptimizerFacts, steps: int | None = None) -> float:
    """Return by how many decades a pick by short runs alone is moved, towards the run that they stand for.

    That is the drift expected by the optimizer's own update between their length and SHORTEST_RUN, or `steps` where
    the coming run is shorter: as often as a run of SHORTEST_RUN updates they pass over their data. Twelve tasks with
    Adagrad, three seeds, five of the 36 sweeps without a curve to read: mean regret of a run of 400 updates 0.025
    instead of 0.041. Moved beside a continuous sweep, too, 0.024, but of 1,600 updates (seven tasks) 0.110 instead of
    0.065: there the sweep's half says where the best rate is, and it isn't moved.
    """
    return expected_shift(optimizer.name, optimizer.settings, short=valley.steps, long=reference_length(steps))


def trainable_range(valley: LrProfile, shift: float = 0.0) -> Band:
    """Return the rates around the best run at which a run learns at least TRAINS of what the best one does.

    Where the pick is moved up by `shift` decades, the upper end goes with it: a rate is called too high only where
    neither the short runs nor what is expected of longer ones bears it.
    """
    low, high = valley.stretch(TRAINS)
    return Band(low=float(10**low), high=float(10 ** (high + shift)))


def reference_length(steps: int | None) -> int:
    """Return the length that short runs stand for, where the coming run has `steps` updates."""
    return REFERENCE_RUN if steps is None else min(steps, REFERENCE_RUN)


def _doubts(valley: LrProfile, guide: float | None, width: float) -> list[str]:
    found = []
    if not valley.level(LEVEL):
        found.append("the best run is the last one on its side, so the best rate may lie beyond")
    if width > WIDEST_CONFIDENT:
        found.append(f"runs {width:.1f} decades apart ended nearly alike")
    if guide is None:
        found.append("no continuous sweep bears it out")
    elif abs(guide - valley.middle(NEARLY)) > FARTHEST_CONFIDENT:
        found.append(f"the two disagree: the sweep says {format_lr(10**guide)}")
    return found
