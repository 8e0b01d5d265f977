"""`trials`: short runs, each at a rate of its own and from the same start, and the rates that they show to be good."""

from __future__ import annotations

from math import log10, sqrt

from lrfinder.formatting import format_interval, format_lr
from lrfinder.options import PER_DECADE
from lrfinder.records import Band, OptimizerFacts, Pick, Status, SweepSettings
from lrfinder.search.drift import drift_between, expected_shift
from lrfinder.search.lr_profile import LrProfile
from lrfinder.search.passes import REFERENCE_RUN

TRIALS_RULE = "trials"

EARLY = 0.1  # decades by which a default sweep finds the best rate too low: rules/README.md#early
DENSEST = 4.0  # times PER_DECADE: so far that was measured
NEARLY = 0.15  # of the best run's fall; nearer, short runs can't tell rates apart: rules/README.md#nearly
LEVEL = 0.05  # of the fall: if the last two runs on a side differ by less, little is gained beyond them
TRAINS = 0.5  # of the best run's fall: what a run learns at least at a trainable rate
WIDEST_NEARLY = 1.5  # decades; a wider interval hardly narrows the trainable rates, so it isn't confident
FARTHEST_APART = 0.8  # decades between the two estimates: rules/README.md#farthest_apart


def sweep_estimate(steepest: Pick | None, settings: SweepSettings) -> float | None:
    """Return log10 of the best rate by the continuous sweep: where it falls fastest, moved up by EARLY.

    x = log10(rate) + EARLY sqrt(n / PER_DECADE),   n = steps / log10(max_lr / min_lr), at most DENSEST PER_DECADE

    None if the sweep allows no such pick.
    """
    if steepest is None or steepest.lr is None:
        return None
    per_decade = min(settings.steps / log10(settings.max_lr / settings.min_lr), DENSEST * PER_DECADE)
    return log10(steepest.lr) + EARLY * sqrt(per_decade / PER_DECADE)


def pick_by_trials(
    profile: LrProfile, guide: float | None, optimizer: OptimizerFacts, steps: int | None = None
) -> Pick:
    """Return the mean (of log10) of two estimates of the best rate, kept inside the interval; for a run of `steps`.

    One is the middle of the rates whose run fell within NEARLY of the best one's fall; these rates are the interval.
    The other is `guide`, the continuous sweep's estimate. Without it the middle counts alone, and is moved together
    with the interval by `shift_alone`.

    Every run began from the same weights, optimizer state and batches, so nothing was learned before and nothing is
    remembered: the run that fell furthest is the fastest decrease per update. But a run's end is flat around its lowest
    point, and beyond that there may be a cliff: the middle is the safest of rates that seem equally good. A short run
    may bear more than a long one, and a sweep falls too early, so the two err by different causes. For halves and not
    other weights see rules/README.md#halfway.
    """
    x = middle = profile.near_best_middle(NEARLY)
    low, high = profile.near_best(NEARLY)
    why = (
        f"{len(profile.points)} trial runs of {profile.steps} updates: lowest loss at "
        f"{format_lr(10**profile.lowest.x)}, almost as low from {format_interval(10**low, 10**high)}"
    )
    if guide is not None:
        x = min(max((middle + guide) / 2, low), high)
        why += f"; the pick averages their middle ({format_lr(10**middle)}) with the sweep's own estimate "
        why += f"({format_lr(10**guide)})"
    elif shift := shift_alone(profile, optimizer, steps):
        x, low, high = x + shift, low + shift, high + shift
        falls = drift_between(optimizer.name, shift, short=profile.steps, long=reference_length(steps))
        why += f"; their middle is {format_lr(10**middle)}; {falls}, so the pick is {format_lr(10**x)}"
    doubts = _doubts(profile, guide, high - low)
    return Pick(
        rule=TRIALS_RULE,
        lr=float(10**x),
        low=float(10**low),
        high=float(10**high),
        status=Status.UNCERTAIN if doubts else Status.CONFIDENT,
        why="; ".join((why, *doubts)),
    )


def shift_alone(profile: LrProfile, optimizer: OptimizerFacts, steps: int | None = None) -> float:
    """Return by how many decades a pick by short runs alone is moved, towards the run that they stand for.

    That is the drift expected by the optimizer's own update between their length and REFERENCE_RUN, or `steps` if the
    coming run is shorter. A pick beside a continuous sweep isn't moved: rules/README.md#shift_alone.
    """
    return expected_shift(optimizer.name, optimizer.settings, short=profile.steps, long=reference_length(steps))


def trainable_range(profile: LrProfile, shift: float = 0.0) -> Band:
    """Return the rates around the best run at which a run learns at least TRAINS of what the best one does.

    If the pick is moved up by `shift` decades, the upper end moves with it: a rate is called too high only if neither
    the short runs bear it nor longer ones are expected to.
    """
    low, high = profile.near_best(TRAINS)
    return Band(low=float(10**low), high=float(10 ** (high + shift)))


def reference_length(steps: int | None) -> int:
    """Return the length that short runs stand for, if the coming run has `steps` updates."""
    return REFERENCE_RUN if steps is None else min(steps, REFERENCE_RUN)


def _doubts(profile: LrProfile, guide: float | None, width: float) -> list[str]:
    found = []
    if not profile.level(LEVEL):
        found.append("the lowest loss is at an end of the rates that were tried, so the best rate may lie beyond")
    if width > WIDEST_NEARLY:
        found.append(f"runs {width:.1f} decades apart ended nearly alike")
    if guide is None:
        found.append("the sweep curve does not confirm it")
    elif abs(guide - profile.near_best_middle(NEARLY)) > FARTHEST_APART:
        found.append("the two estimates are far apart")
    return found
