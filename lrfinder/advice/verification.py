"""Verify a recommendation by training: short runs of two lengths around it, and what they say of the full length."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass

from lrfinder.advice.advise import Request, advise
from lrfinder.config import ScheduleConfig, dump
from lrfinder.errors import UsageError
from lrfinder.numbers import interval, rate
from lrfinder.records import Pick, RunPlan, ShortRun, Status, Stop, SweepResult
from lrfinder.search.descend import bracketing, refining
from lrfinder.search.drift import Drift, carried_on
from lrfinder.search.valley import Valley, find_valley

VERIFIED = "verified"  # the rule's name of what was verified by training

LEAST_BUDGET = 800  # updates: four runs of 200, the length from which thirteen real tasks' best rates can be told
SHARE = 0.25  # of the coming run, where that is more: what a tuned rate is worth to a run that is made once
LONG_RUNS = 4  # the rate itself, its two neighbours, and one more where the best of them is an outer one
SHORT_RUNS = 5  # as many as a sweep makes around its pick, where the sweep made none
GROWTH = 4  # how much longer the runs of the second length are at least (successive halving's eta)
LEAST_STEPS = 10  # updates of a run; fewer see little but the warm-up
STEP = 0.25  # decades between the rates: closer, and losses differ by less than those of two seeds
FIRST_STEP = 0.5  # decades between the first rates of the shorter runs, if verify has to make them
CONFIRMED = 0.1  # decades (a factor of 1.26): nearer, no run could tell the recommended rate from the verified one
FARTHEST_CONFIDENT = 2.0  # doublings of the length: a run four times as long may overfit where shorter ones could not
BETTER = 0.02  # of the fall: by so much another shape must end lower to be chosen over the recommended one
_CUT_SHORT = frozenset({Stop.INTERRUPTED, Stop.TERMINATED, Stop.OUT_OF_TIME, Stop.FAILED})
Z90 = 1.645  # standard errors on each side of a normal 90 % interval
LEAST_INTERVAL = 0.15  # decades on each side; met the near-optimal rates in 92 % of cases, thirteen tasks, three seeds


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What training said. `confirmed` is None where it can't be told; then `lr` is None and `hint` says what to do.

    `lr` is the rate to use: the recommended one where it was confirmed, else the corrected one. `pick` is its evidence,
    `schedule` the config with it, `updates` counts everything spent, the sweep included.
    """

    confirmed: bool | None
    lr: float | None
    pick: Pick
    picks: tuple[Pick, ...]
    why: str
    hint: str
    schedule: ScheduleConfig | None
    updates: int
    trials: tuple[ShortRun, ...]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the schedule config; the suffix says whether as YAML, JSON or TOML.

        Raises UsageError where there is none: training could not tell.
        """
        if self.schedule is None:
            raise UsageError("there is no schedule to save", hint=self.hint)
        dump(self.schedule, path)


def default_budget(steps: int) -> int:
    """Return the updates that verifying a run of `steps` updates may cost: SHARE of it, at least LEAST_BUDGET."""
    return max(LEAST_BUDGET, round(SHARE * steps))


def parse_budget(text: str | None, steps: int) -> int:
    """Return a budget in updates from "800", or from a share of the coming run, "25%" or "0.25"; None: the default.

    Raises UsageError for anything else, and where it pays for less than LONG_RUNS runs of LEAST_STEPS updates.
    """
    if text is None:
        return default_budget(steps)
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


def next_runs(request: VerifyRequest, sweep: SweepResult, trials: tuple[ShortRun, ...]) -> tuple[RunPlan, ...]:
    """Return the runs to make next, all at once if wanted; empty when enough is known or the budget is spent.

    First the shorter length, unless the sweep's own short runs bracket their best rate already; then the longer one,
    around where the shorter ended lowest; then the other shapes, at the best rate. A pure function of what was
    measured: asked again after an interruption it goes on where it was.
    """
    spent = sum(trial.updates for trial in trials)
    trials = tuple(trial for trial in trials if trial.stop not in _CUT_SHORT)  # those are made again
    same = _of(trials, request.schedule)
    if _short_valley(request, sweep) is None:
        steps = _first_steps(request)
        plans = _rung(request, same, steps, center=math.log10(request.lr), step=FIRST_STEP, most=SHORT_RUNS)
        if plans:
            return _afforded(plans, request.budget - spent)
    valley = _short(request, sweep, trials)
    center = valley.x if valley is not None and valley.fall > 0 else math.log10(request.lr)
    steps = _long_steps(request, sweep)
    plans = _rung(request, same, steps, center=center, step=STEP, most=LONG_RUNS)
    return _afforded(plans or _shapes(request, trials, steps), request.budget - spent)


def conclude(request: VerifyRequest, sweep: SweepResult, trials: tuple[ShortRun, ...]) -> Verification:
    """Return what the runs say of the recommended rate at the full length, also where there are too few of them."""
    long = find_valley(_of(trials, request.schedule), _long_steps(request, sweep))
    advice = advise(sweep, Request(steps=request.steps, schedule=request.schedule, warmup=request.warmup))
    updates = sweep.updates + sum(trial.updates for trial in trials)
    if long is None or long.fall <= 0 or len(long.points) < 2:  # noqa: PLR2004 - one point has no lowest
        pick = Pick(rule=VERIFIED, lr=None, low=None, high=None, status=Status.REFUSED, why=_no_answer(long))
        return Verification(
            confirmed=None,
            lr=None,
            pick=pick,
            picks=(pick, *advice.picks),
            why=f"Nothing could be verified: {pick.why}.",
            hint="give a larger --budget, or sweep again with a wider range",
            schedule=None,
            updates=updates,
            trials=trials,
        )
    drift = carried_on(_short(request, sweep, trials), long, request.steps)
    confirmed = abs(math.log10(request.lr) - drift.x) <= CONFIRMED
    lr = request.lr if confirmed else float(f"{10**drift.x:.3g}")
    shape, shapes = _best_shape(request, long, trials)
    pick = _pick(lr, drift, long, _said(request, long, drift))
    config = advise(sweep, Request(steps=request.steps, schedule=shape, warmup=request.warmup, lr=lr)).schedule
    verdict = f"confirmed: {rate(request.lr)}" if confirmed else f"corrected from {rate(request.lr)} to {rate(lr)}"
    return Verification(
        confirmed=confirmed and shape == request.schedule,
        lr=lr,
        pick=pick,
        picks=(pick, *advice.picks),
        why=f"The peak rate is {verdict}, {_between(pick)}: {pick.why}.{shapes}",
        hint="",
        schedule=_with_evidence(config, pick, updates),
        updates=updates,
        trials=trials,
    )


def _of(trials: tuple[ShortRun, ...], schedule: str) -> tuple[ShortRun, ...]:
    return tuple(trial for trial in trials if trial.plan.schedule == schedule)


def _short_valley(request: VerifyRequest, sweep: SweepResult) -> Valley | None:
    """Return the valley of the sweep's own short runs, where it will do as the shorter length."""
    steps = sweep.settings.run_steps
    if steps * GROWTH > min(request.steps, request.budget // LONG_RUNS):
        return None
    valley = find_valley(_of(sweep.runs, request.schedule), steps)
    return valley if valley is not None and valley.bracketed and valley.fall > 0 else None


def _first_steps(request: VerifyRequest) -> int:
    """Return the shorter length if verify makes those runs: both lengths together, GROWTH apart, use up the budget."""
    return max(LEAST_STEPS, min(request.steps // GROWTH, request.budget // (SHORT_RUNS + GROWTH * _longer(request))))


def _longer(request: VerifyRequest) -> int:
    return LONG_RUNS + len(_others(request))


def _long_steps(request: VerifyRequest, sweep: SweepResult) -> int:
    left = request.budget
    if _short_valley(request, sweep) is None:
        left -= SHORT_RUNS * _first_steps(request)
    return max(LEAST_STEPS, min(request.steps, left // _longer(request)))


def _short(request: VerifyRequest, sweep: SweepResult, trials: tuple[ShortRun, ...]) -> Valley | None:
    own = find_valley(_of(trials, request.schedule), _first_steps(request))
    valley = _short_valley(request, sweep)
    return valley if valley is not None else own


def _rung(
    request: VerifyRequest, trials: tuple[ShortRun, ...], steps: int, *, center: float, step: float, most: int
) -> tuple[RunPlan, ...]:
    """Return the next runs of one length: the center and its neighbours first, then one by one towards the lowest."""
    measured = find_valley(trials, steps)
    tried = {trial.plan.lr for trial in trials if trial.plan.steps == steps}
    first = [_plan(request, x, steps) for x in (center, center + step, center - step)]
    missing = tuple(plan for plan in first if plan.lr not in tried)
    if missing or measured is None or len(tried) >= most:
        return missing
    x = bracketing(measured, step)
    if x is None and step > STEP:
        x = refining(measured, STEP)
    plan = None if x is None else _plan(request, x, steps)
    return () if plan is None or plan.lr in tried else (plan,)


def _plan(request: VerifyRequest, x: float, steps: int, schedule: str | None = None) -> RunPlan:
    return RunPlan(lr=float(f"{10**x:.4g}"), steps=steps, schedule=schedule or request.schedule)


def _others(request: VerifyRequest) -> tuple[str, ...]:
    return tuple(name for name in request.schedules if name != request.schedule)


def _shapes(request: VerifyRequest, trials: tuple[ShortRun, ...], steps: int) -> tuple[RunPlan, ...]:
    """Return a run of each other shape at the best rate that was tried at this length."""
    valley = find_valley(_of(trials, request.schedule), steps)
    if valley is None:
        return ()
    done = {trial.plan.schedule for trial in trials if trial.plan.steps == steps}
    return tuple(_plan(request, valley.lowest.x, steps, name) for name in _others(request) if name not in done)


def _afforded(plans: tuple[RunPlan, ...], left: int) -> tuple[RunPlan, ...]:
    """Return as many of the runs as the rest of the budget pays for."""
    kept = []
    for plan in plans:
        left -= plan.steps
        if left >= 0:
            kept.append(plan)
    return tuple(kept)


def _best_shape(request: VerifyRequest, long: Valley, trials: tuple[ShortRun, ...]) -> tuple[str, str]:
    """Return the shape to use, and a sentence on the others, empty where none was tried."""
    tried = {
        trial.plan.schedule: trial.loss
        for trial in trials
        if trial.plan.steps == long.steps and trial.plan.schedule != request.schedule and trial.loss is not None
    }
    if not tried:
        return request.schedule, ""
    best = min(tried, key=lambda name: tried[name])
    gain = (long.lowest.loss - tried[best]) / long.fall
    if gain > BETTER:
        return best, f" Of the shapes {best} ended lowest, {gain:.0%} of the fall below {request.schedule}."
    return request.schedule, f" No other shape ended more than {BETTER:.0%} of the fall below {request.schedule}."


def _pick(lr: float, drift: Drift, long: Valley, why: str) -> Pick:
    x, half = math.log10(lr), max(LEAST_INTERVAL, Z90 * drift.error)
    low, high = min(drift.x - half, x), max(drift.x + half, x)
    doubts = []
    if not long.bracketed:
        doubts.append("the best of them is the last one on its side, so the best rate may lie beyond")
    if drift.doublings > FARTHEST_CONFIDENT:
        doubts.append(f"the coming run is {2**drift.doublings:.0f} times as long as any that was tried")
    status = Status.UNCERTAIN if doubts else Status.CONFIDENT
    return Pick(rule=VERIFIED, lr=lr, low=10**low, high=10**high, status=status, why="; ".join((why, *doubts)))


def _said(request: VerifyRequest, long: Valley, drift: Drift) -> str:
    said = f"{len(long.points)} runs of {long.steps} updates end lowest at {rate(10**long.x)}"
    if drift.doublings == 0:
        return f"{said}, and they are as long as the coming run"
    if drift.per_doubling == 0:
        return f"{said}; shorter ones did not tell how that moves with the length"
    way = "up" if drift.per_doubling > 0 else "down"
    factor = 10 ** abs(drift.per_doubling)
    return (
        f"{said}, and the best rate moved {way} by a factor of {factor:.2f} with each doubling of the length, which at "
        f"{request.steps} updates makes it {rate(10**drift.x)}"
    )


def _between(pick: Pick) -> str:
    return f"90 % interval {interval(pick.low or math.nan, pick.high or math.nan)}"


def _no_answer(long: Valley | None) -> str:
    if long is None:
        return "no run of the longer length was finished"
    if long.fall <= 0:
        return "no run brought the held-out loss below where it began"
    return "a single rate was tried"


def _with_evidence(config: ScheduleConfig | None, pick: Pick, updates: int) -> ScheduleConfig | None:
    if config is None or config.evidence is None:
        return config
    evidence = config.evidence.model_copy(
        update={"rule": VERIFIED, "status": pick.status, "why": pick.why, "updates": updates}
    )
    return config.model_copy(update={"evidence": evidence})
