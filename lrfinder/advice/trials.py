"""Which short trainings a verification makes: how long, on how much of the data, at which rates, for what budget."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from lrfinder.errors import UsageError
from lrfinder.records import RunPlan, ShortRun, SweepResult
from lrfinder.rules.short_runs import NEARLY
from lrfinder.schedules import SCHEDULES
from lrfinder.search.descend import next_bracket, next_refinement
from lrfinder.search.passes import subset_size
from lrfinder.search.valley import LrProfile, lr_profile

# Updates. A run this short is tried at its full length: what the best rate does between a shorter run and it then
# plays no part (thirteen real tasks of 400 updates: mean regret 0.004 instead of 0.014).
FULL_LENGTH = 400
FULL_RUNS = 5  # the rate itself, its two neighbours, and two more where the best of them is an outer one
LEAST_BUDGET = 800  # updates, for longer runs: below it, trials are too short for the best rates to be told apart
SHARE = 0.25  # of the coming run, where that is more: what a tuned rate is worth to a run that is made once
SHORT_RUNS = 5  # of the first length, far apart: they find the valley
LONG_RUNS = 4  # of the second length, closer together: they find its lowest point
GROWTH = 3  # times as long are the runs of the second length (successive halving's usual eta)
# Times as long must they be for the sweep's own runs to do as the first length: less, and the chance in two lowest
# points is larger than what the best rate moves between them.
LEAST_GROWTH = 2
LEAST_STEPS = 10  # updates of a run; fewer see little but the warm-up
FIRST_STEP = 0.5  # decades between the rates of the first length
STEP = 0.3  # decades (a factor of two) between those of the second: closer, two seeds differ by more than two rates


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyRequest:
    """What is to be verified, for a run of `steps` updates: the peak `lr` of `schedule`, and how much may be spent.

    `budget` counts updates, those of the sweep not among them. `schedules` are other shapes to try.
    """

    steps: int
    budget: int
    lr: float
    schedule: str = "linear"
    schedules: tuple[str, ...] = ()
    warmup: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in (self.schedule, *self.schedules):
            if name in SCHEDULES and not SCHEDULES[name].can_be_shortened:
                raise UsageError(
                    f"a {name} schedule can't be tried in short runs: it has no shorter form",
                    hint="verify the peak rate under another shape: --schedule linear --steps T",
                )

    @property
    def others(self) -> tuple[str, ...]:
        """The shapes to try besides the recommended one."""
        return tuple(name for name in self.schedules if name != self.schedule)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """The updates of a trial of each length; `short` is None where the sweep's own runs do for it, or it isn't needed.

    `most` bounds the number of runs of the second length.
    """

    short: int | None
    long: int
    most: int


def default_budget(steps: int, shapes: int = 0) -> int:
    """Return the updates that verifying a run of `steps` updates may cost, with `shapes` other shapes to try.

    Up to FULL_LENGTH, FULL_RUNS whole runs and one for each shape; beyond, SHARE of the run, at least LEAST_BUDGET.
    """
    if steps <= FULL_LENGTH:
        return (FULL_RUNS + shapes) * max(steps, LEAST_STEPS)
    return max(LEAST_BUDGET, round(SHARE * steps))


def parse_budget(text: str | None, steps: int, shapes: int = 0) -> int:
    """Return a budget in updates from "800", or from a share of the coming run, "25%" or "0.25"; None: the default.

    Raises UsageError for anything else, and where it pays for less than LONG_RUNS runs of LEAST_STEPS updates.
    """
    if text is None:
        return default_budget(steps, shapes)
    if re.fullmatch(r"\d+", text):
        budget = int(text)
    elif re.fullmatch(r"\d+(\.\d+)?%", text):
        budget = round(float(text[:-1]) / 100 * steps)
    elif re.fullmatch(r"0?\.\d+", text):
        budget = round(float(text) * steps)
    else:
        raise UsageError(f"budget: {text!r} is not a number of updates nor a share", hint="write 800, 25% or 0.25")
    least = LONG_RUNS * LEAST_STEPS
    if budget < least:
        raise UsageError(f"budget: {budget} updates are too few", hint=f"give at least {least}")
    return budget


def lengths(request: VerifyRequest, sweep: SweepResult) -> Lengths:
    """Return how long the trials are: at the full length where the budget pays for that, else of two lengths."""
    others, budget = len(request.others), request.budget
    if _pays_for_full_runs(request):
        return Lengths(short=None, long=max(request.steps, LEAST_STEPS), most=FULL_RUNS)
    longer = LONG_RUNS + others
    if _own_valley(request, sweep) is not None:
        return Lengths(short=None, long=max(LEAST_STEPS, min(request.steps, budget // longer)), most=LONG_RUNS)
    short = max(LEAST_STEPS, min(request.steps // GROWTH, budget // (SHORT_RUNS + GROWTH * longer)))
    long = max(LEAST_STEPS, min(request.steps, (budget - SHORT_RUNS * short) // longer))
    return Lengths(short=short, long=long, most=LONG_RUNS)


def repeats_data(request: VerifyRequest, sweep: SweepResult) -> bool:
    """Tell whether the coming run goes through the data more than once; False where their length is not known."""
    per_epoch = sweep.setup.batches_per_epoch
    return per_epoch is not None and request.steps > per_epoch


def different_batches(request: VerifyRequest, sweep: SweepResult, steps: int) -> int | None:
    """Return on how many different batches a trial of `steps` updates trains, over and over; None: on all that come.

    It passes over its data as often as the coming run will: see `matched_batches`. On six real tasks of 1,600 updates
    (24 to 76 passes) the best rate of 200 such updates has a mean regret of 0.003, against 0.05 on fresh batches.
    """
    return subset_size(sweep.setup.batches_per_epoch, steps=steps, whole=request.steps)


def next_runs(request: VerifyRequest, sweep: SweepResult, trials: tuple[ShortRun, ...]) -> tuple[RunPlan, ...]:
    """Return the runs to make next, all at once if wanted; empty when enough is known or the budget is spent.

    First the shorter length, where there is one; then the longer one, around where the shorter ended lowest; then the
    other shapes, at the best rate. A pure function of what was measured: asked again after an interruption it goes on
    where it was.
    """
    spent = sum(trial.updates for trial in trials)
    made = tuple(trial for trial in trials if not trial.stop.worth_repeating)  # those are made again
    planned = lengths(request, sweep)
    if planned.short is not None:
        center = math.log10(request.lr)
        plans = _rung(request, sweep, made, planned.short, center=center, step=FIRST_STEP, most=SHORT_RUNS)
        if plans:
            return _afforded(plans, request.budget - spent)
    center = _center(request, sweep, made, planned)
    plans = _rung(request, sweep, made, planned.long, center=center, step=STEP, most=planned.most)
    return _afforded(plans or _shapes(request, sweep, made), request.budget - spent)


def _center(request: VerifyRequest, sweep: SweepResult, trials: tuple[ShortRun, ...], planned: Lengths) -> float:
    """Return log10 of the rate around which the second length is tried.

    That is where the shorter length's own runs ended lowest. The sweep's runs are already in its recommendation, which
    is nearer to the best rate than they alone are: there the rate to verify itself, if those runs don't rule it out.
    """
    asked = math.log10(request.lr)
    valley = short_valley(request, sweep, trials)
    if valley is None or valley.fall <= 0:
        return asked
    if planned.short is not None:
        return valley.x
    low, high = valley.stretch(NEARLY)
    return min(max(asked, low), high)


def short_valley(request: VerifyRequest, sweep: SweepResult, trials: tuple[ShortRun, ...]) -> LrProfile | None:
    """Return the valley of the shorter length: the trials', or else the sweep's own runs'; None where there is none."""
    short = lengths(request, sweep).short
    return _own_valley(request, sweep) if short is None else lr_profile(_alike(request, sweep, trials), short)


def long_valley(request: VerifyRequest, sweep: SweepResult, trials: tuple[ShortRun, ...]) -> LrProfile | None:
    """Return the valley of the longer length; None where no run of it was finished."""
    return lr_profile(_alike(request, sweep, trials), lengths(request, sweep).long)


def shapes_tried(request: VerifyRequest, sweep: SweepResult, trials: tuple[ShortRun, ...]) -> dict[str, float]:
    """Return what the other shapes reached at the longer length, by name."""
    long = lengths(request, sweep).long
    return {
        trial.plan.schedule: trial.loss
        for trial in trials
        if _counts(request, sweep, trial) and trial.plan.steps == long and trial.loss is not None
        if trial.plan.schedule != request.schedule
    }


def _pays_for_full_runs(request: VerifyRequest) -> bool:
    return request.budget >= (FULL_RUNS + len(request.others)) * request.steps


def _counts(request: VerifyRequest, sweep: SweepResult, trial: ShortRun) -> bool:
    """Tell whether a trial was made for a run like the coming one: a log may hold those of another length."""
    return trial.plan.batches == different_batches(request, sweep, trial.plan.steps)


def _alike(request: VerifyRequest, sweep: SweepResult, trials: tuple[ShortRun, ...]) -> tuple[ShortRun, ...]:
    same = (trial for trial in trials if trial.plan.schedule == request.schedule)
    return tuple(trial for trial in same if _counts(request, sweep, trial))


def _own_valley(request: VerifyRequest, sweep: SweepResult) -> LrProfile | None:
    """Return the valley of the sweep's own short runs, where it will do as the shorter length.

    They saw fresh batches: where the coming run goes through the data again and again, that is another matter.
    """
    if sweep.setup.cached_batches is not None:
        return None
    steps = sweep.settings.run_steps
    fresh_too = _pays_for_full_runs(request) or not repeats_data(request, sweep)
    if not fresh_too or steps * LEAST_GROWTH > min(request.steps, request.budget // LONG_RUNS):
        return None
    own = tuple(run for run in sweep.runs if run.plan.schedule == request.schedule)
    valley = lr_profile(own, steps)
    return valley if valley is not None and valley.bracketed and valley.fall > 0 else None


def _rung(
    request: VerifyRequest,
    sweep: SweepResult,
    trials: tuple[ShortRun, ...],
    steps: int,
    *,
    center: float,
    step: float,
    most: int,
) -> tuple[RunPlan, ...]:
    """Return the next runs of one length: the center and its neighbours first, then one by one towards the lowest.

    Where that one has its neighbours, what is left for the second length goes halfway to the better of them.
    """
    same = _alike(request, sweep, trials)
    tried = {trial.plan.lr for trial in same if trial.plan.steps == steps}
    first = [_plan(request, sweep, x, steps) for x in (center, center + step, center - step)]
    missing = tuple(plan for plan in first if plan.lr not in tried)
    measured = lr_profile(same, steps)
    if missing or measured is None or len(tried) >= most:
        return missing
    x = next_bracket(measured, step)
    if x is None and step == STEP and not _pays_for_full_runs(request):
        x = next_refinement(measured, step / 2)
    plan = None if x is None else _plan(request, sweep, x, steps)
    return () if plan is None or plan.lr in tried else (plan,)


def _plan(request: VerifyRequest, sweep: SweepResult, x: float, steps: int, schedule: str | None = None) -> RunPlan:
    return RunPlan(
        lr=float(f"{10**x:.4g}"),  # four digits: 0.02 decade apart they differ
        steps=steps,
        schedule=schedule or request.schedule,
        batches=different_batches(request, sweep, steps),
    )


def _shapes(request: VerifyRequest, sweep: SweepResult, trials: tuple[ShortRun, ...]) -> tuple[RunPlan, ...]:
    """Return a run of each other shape at the best rate that was tried at the longer length."""
    steps = lengths(request, sweep).long
    valley = lr_profile(_alike(request, sweep, trials), steps)
    if valley is None:
        return ()
    done = {t.plan.schedule for t in trials if t.plan.steps == steps and _counts(request, sweep, t)}
    return tuple(_plan(request, sweep, valley.lowest.x, steps, name) for name in request.others if name not in done)


def _afforded(plans: tuple[RunPlan, ...], left: int) -> tuple[RunPlan, ...]:
    """Return as many of the runs as the rest of the budget pays for."""
    kept = []
    for plan in plans:
        left -= plan.steps
        if left >= 0:
            kept.append(plan)
    return tuple(kept)
