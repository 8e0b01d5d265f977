"""Which short run a sweep makes next: around what the continuous part found, or over the whole range."""

from __future__ import annotations

import functools
import math

from lrfinder.advice.learned import FIRST, TOO_SMALL, found_nothing, untrainable_runs
from lrfinder.advice.refusal import refuse_curve, refuse_points
from lrfinder.fit import fit_curve
from lrfinder.records import Mode, RunPlan, SweepResult, SweepSettings, Trace
from lrfinder.rules.short_runs import LEVEL, sweep_estimate
from lrfinder.rules.steepest import steepest
from lrfinder.search.descend import next_bracket, next_refinement
from lrfinder.search.passes import REFERENCE_RUN, subset_size
from lrfinder.search.valley import LrProfile, lr_profile

# Decades (a factor of 2.5) between the runs: closer, three of them see too little of the valley, farther apart they
# don't tell where in it they are (thirteen real tasks, recorded: mean regret 0.012 at 0.4, 0.014 at 0.3 and at 0.5).
STEP = 0.4
FINE = 0.25  # decades: closer, and the losses of two rates differ by less than those of two seeds
AROUND = 5  # at most, where the best one is clearly the last on its side
COARSE = 1.0  # decades: no task's valley (its rates within half the best fall) was narrower
CONTROLS = 3  # runs too small to learn at, for what chance does
BEYOND = 3  # runs past an end of the range, where the best one lies there


def next_run(result: SweepResult) -> RunPlan | None:
    """Return the short run that says most after what `result` holds, or None where enough is known.

    A pure function of what was measured: asked again after an interruption, it goes on where it was.
    """
    settings = result.settings
    continuous = (*result.traces, *result.short_sweeps)
    if settings.mode is Mode.CONTINUOUS or any(trace.stop.worth_repeating for trace in continuous):
        return None
    if any(run.stop.worth_repeating for run in result.runs) or _initial_loss_not_finite(result):
        return None
    valley = lr_profile(result.runs, settings.run_steps)
    if result.runs and valley is None:  # the held-out loss is not a number before any update: no rate can help
        return None
    start = start_of(result)
    x = _over_the_range(valley, result) if start is None or found_nothing(result) else _around(valley, start)
    if x is None:
        return None
    # Four digits: 0.02 decade apart they differ.
    return RunPlan(lr=float(f"{10**x:.4g}"), steps=settings.run_steps, batches=_batches(result))


def first_run(settings: SweepSettings) -> RunPlan:
    """Return the first short run of a sweep that has no continuous part: the lowest rate, on all batches that come.

    How many batches there are isn't known yet; at a rate at which nothing is learned that makes no difference.
    """
    return RunPlan(lr=settings.min_lr, steps=settings.run_steps, batches=settings.cache_batches)


def _batches(result: SweepResult) -> int | None:
    """Return on how many batches a short run trains: as many as a run of SHORTEST_RUN updates passes over as often."""
    settings = result.settings
    if settings.cache_batches is not None:
        return settings.cache_batches
    return subset_size(result.setup.batches_per_epoch, steps=settings.run_steps, whole=REFERENCE_RUN)


def start_of(result: SweepResult) -> float | None:
    """Return log10 of the best rate by the continuous part; None where that can't be trusted."""
    basis = result.basis
    if basis.settings.mode is Mode.RESTART or not basis.traces:
        return None
    return _guide(basis.settings, basis.traces)


@functools.lru_cache(maxsize=1)  # asked before every short run, of the same continuous part
def _guide(settings: SweepSettings, traces: tuple[Trace, ...]) -> float | None:
    if refuse_points(traces, settings) is not None:
        return None
    curve = fit_curve(traces, settings.lrs())
    if refuse_curve(curve, traces, settings) is not None:
        return None
    return sweep_estimate(steepest(curve), settings)


def _initial_loss_not_finite(result: SweepResult) -> bool:
    """Tell whether the loss is not a number before any update: then no rate can help."""
    firsts = [trace.initial_loss for trace in result.traces] + [run.initial_loss for run in result.runs]
    return bool(firsts) and all(first is None or not math.isfinite(first) for first in firsts)


def _around(valley: LrProfile | None, start: float) -> float | None:
    if valley is None:
        return start
    count = len(valley.points)
    if count >= AROUND or (count >= FIRST and valley.level(LEVEL)):
        return None
    return next_bracket(valley, STEP)


def _next_to(valley: LrProfile) -> float | None:
    x = next_bracket(valley, STEP)
    return x if x is not None else next_refinement(valley, FINE)


def _over_the_range(valley: LrProfile | None, result: SweepResult) -> float | None:
    """Return the next rate of a grid of COARSE decades over the range; then as near the best as around a pick."""
    settings = result.settings
    low, high = math.log10(settings.min_lr), math.log10(settings.max_lr)
    count = max(2, math.ceil((high - low) / COARSE) + 1)
    grid = [low + (high - low) * index / (count - 1) for index in range(count)]
    if valley is None:
        return grid[0]
    tried = [point.x for point in valley.points]
    highest_trained = max((point.x for point in valley.points if point.trained), default=-math.inf)
    blown = [point.x for point in valley.points if not point.trained and point.x > highest_trained]
    top = blown[1] if len(blown) > 1 else math.inf  # one run may diverge by chance; two in a row end the climb
    missing = [x for x in grid if x < top and all(abs(x - seen) > FINE for seen in tried)]
    if missing:
        return missing[0]
    if valley.fall <= 0 or len(tried) >= count + AROUND + BEYOND:
        return None
    x = _next_to(valley)
    return x if x is not None else _control(valley)


def _control(valley: LrProfile) -> float | None:
    """Return a rate too small to learn at, until there are CONTROLS: only they tell a small fall from chance."""
    count = len(untrainable_runs(valley))
    return valley.lowest.x - TOO_SMALL - FINE * (count + 1) if count < CONTROLS else None
