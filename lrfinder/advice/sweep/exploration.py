"""Which short run a sweep makes next: around what the continuous part found, or over the whole range."""

from __future__ import annotations

import math
import statistics

from lrfinder.advice.against import SAME
from lrfinder.advice.sweep.evidence import FIRST, TOO_SMALL, found_nothing, read_curve, untrainable_runs, valley_runs
from lrfinder.formatting import round_lr
from lrfinder.records import Mode, RunPlan, SweepResult, SweepSettings, Trace
from lrfinder.rules.steepest import steepest
from lrfinder.rules.trials import LEVEL, sweep_estimate
from lrfinder.search.lr_profile import LrProfile, drift_of, lr_profile
from lrfinder.search.next_rate import next_bracket, next_refinement
from lrfinder.search.passes import REFERENCE_RUN, subset_size

STEP = 0.4  # decades between neighbouring runs: rules/README.md#step
FINE = 0.25  # decades: nearer, and the losses of two rates differ by less than those of two seeds
AROUND = 5  # runs at most, if the best one is clearly the last on its side
COARSE = 1.0  # decades: no task's trainable range (half the best fall) was narrower
CONTROLS = 3  # runs too small to learn at: they show what chance does
BEYOND = 3  # runs past an end of the range, if the best one lies there
WINDOW = 5  # losses of a trace in a median


def next_run(result: SweepResult, start: float | None) -> RunPlan | None:
    """Return the next short run to make, the one that tells most beyond `result`; None if enough is known.

    `start` is `start_of(result)`, which no short run changes. A pure function of what was measured: after an
    interruption it goes on where it was.
    """
    settings = result.settings
    continuous = (*result.traces, *result.short_sweeps)
    if settings.mode is Mode.CONTINUOUS or any(trace.stop.worth_repeating for trace in continuous):
        return None
    if any(run.stop.worth_repeating for run in result.runs) or _initial_loss_not_finite(result):
        return None
    profile = lr_profile(valley_runs(result), settings.run_steps)
    if result.runs and profile is None:  # the held-out loss is not a number before any update: no rate can help
        return None
    everywhere = start is None or found_nothing(result)
    x = _over_the_range(profile, result) if start is None or everywhere else _around(profile, start)
    x = _last_rate(result) if x is None and profile is not None else x
    if x is None:
        return None
    return RunPlan(
        lr=round_lr(10**x, 4),
        steps=settings.run_steps,
        batches=_batches(result),
        control=everywhere and x <= math.log10(settings.min_lr),
        drift=drift_of(result.runs)[0],
    )


def first_run(settings: SweepSettings) -> RunPlan:
    """Return the first short run of a sweep without a continuous part: the lowest rate, on all batches that come.

    How many batches there are isn't known yet. At a rate too small to learn at, it makes no difference.
    """
    return RunPlan(lr=settings.min_lr, steps=settings.run_steps, batches=settings.cache_batches, control=True)


def _batches(result: SweepResult) -> int | None:
    """Return on how many batches a short run trains: as many as a run of REFERENCE_RUN updates passes over as often."""
    settings = result.settings
    if settings.cache_batches is not None:
        return settings.cache_batches
    return subset_size(result.batches_per_epoch, steps=settings.run_steps, whole=REFERENCE_RUN)


def start_of(result: SweepResult) -> float | None:
    """Return log10 of the best rate by the continuous part; None if there is none that can be trusted."""
    source = result.pick_source
    if source.settings.mode is Mode.RESTART or not source.traces:
        return None
    curve, refusal = read_curve(source)
    if curve is None or refusal is not None:
        return None
    return sweep_estimate(steepest(curve), source.settings)


def _initial_loss_not_finite(result: SweepResult) -> bool:
    """Tell whether the loss is not finite before any update: then no rate can help."""
    firsts = [trace.initial_loss for trace in result.traces] + [run.initial_loss for run in result.runs]
    return bool(firsts) and all(first is None or not math.isfinite(first) for first in firsts)


def _around(profile: LrProfile | None, start: float) -> float | None:
    if profile is None:
        return start
    count = len(profile.points)
    if count >= AROUND or (count >= FIRST and profile.level(LEVEL)):
        return None
    return next_bracket(profile, STEP)


def _last_rate(result: SweepResult) -> float | None:
    """Return log10 of the rate at which the run stopped that goes on, unless a run was made there: to compare with."""
    begins = result.setup.start
    if begins is None or not begins.lr:
        return None
    x = math.log10(begins.lr)
    return None if any(abs(math.log10(run.plan.lr) - x) <= SAME for run in result.runs) else x


def _next_to(profile: LrProfile) -> float | None:
    x = next_bracket(profile, STEP)
    return x if x is not None else next_refinement(profile, FINE)


def _over_the_range(profile: LrProfile | None, result: SweepResult) -> float | None:
    """Return the next rate of a grid over the range, COARSE decades apart; after it, rates near the best one."""
    settings = result.settings
    low, high = math.log10(settings.min_lr), math.log10(settings.max_lr)
    count = max(2, math.ceil((high - low) / COARSE) + 1)
    grid = [low + (high - low) * index / (count - 1) for index in range(count)]
    if profile is None:
        return grid[0]
    controls = [run for run in result.runs if run.plan.control]
    if len(controls) == 1 and controls[0].rise > 0:
        return low - TOO_SMALL  # does the loss rise by itself? Then it does so here, too
    tried = [point.x for point in profile.points]
    highest_trained = max((point.x for point in profile.points if point.trained), default=-math.inf)
    diverged = [point.x for point in profile.points if not point.trained and point.x > highest_trained]
    top = diverged[1] if len(diverged) > 1 else math.inf  # one run may diverge by chance; two in a row end the climb
    top = max(top, _fell_up_to(result.traces))
    missing = [x for x in grid if x < top and all(abs(x - seen) > FINE for seen in tried)]
    if missing:
        return missing[0]
    if profile.fall <= 0 or len(tried) >= count + AROUND + BEYOND:
        return None
    x = _next_to(profile)
    return x if x is not None else _control(profile)


def _fell_up_to(traces: tuple[Trace, ...]) -> float:
    """Return log10 of the rate up to which all traces came to their lowest median of WINDOW losses; -inf if unknown.

    Runs may diverge below it: plain LBFGS does so by chance at rates one to three decades below its best ones.
    """
    lowest = []
    for trace in traces:
        ends = range(WINDOW, len(trace.losses) + 1)
        best = min(ends, key=lambda end: statistics.median(trace.losses[end - WINDOW : end]), default=None)
        lowest.append(-math.inf if best is None else math.log10(trace.lrs[best - 1]))
    return min(lowest, default=-math.inf)


def _control(profile: LrProfile) -> float | None:
    """Return a rate too small to learn at, until there are CONTROLS: only they tell a small fall from chance."""
    count = len(untrainable_runs(profile))
    return profile.lowest.x - TOO_SMALL - FINE * (count + 1) if count < CONTROLS else None
