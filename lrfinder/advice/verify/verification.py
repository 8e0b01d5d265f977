"""Verify a recommendation by training: short runs of two lengths around it, and what they show of the full length."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

from lrfinder.advice.advise import Request, advise, pick_text
from lrfinder.advice.against import Against, whose_rate
from lrfinder.advice.choice import BETTER
from lrfinder.advice.constant_rate import CONSTANT
from lrfinder.advice.plan import carried_warmup
from lrfinder.advice.sweep.evidence import SweepEvidence
from lrfinder.advice.sweep.trouble import only_a_constant
from lrfinder.advice.verify.budget import Account, VerifyRequest
from lrfinder.advice.verify.decision import CLOSE, DEAR, FAR_BELOW, LEAST_ERROR, SHELF, Decision, left_over
from lrfinder.advice.verify.trial_plan import TrialPlan
from lrfinder.config import ScheduleConfig, dump
from lrfinder.errors import UsageError
from lrfinder.formatting import format_count, format_factor, format_loss, format_lr, round_lr
from lrfinder.records import Pick, ShortRun, Status, Stop
from lrfinder.search.drift import FARTHEST, NEAR_BEST, step_falls
from lrfinder.search.lr_profile import CLIFF, LrProfile

VERIFIED = "verified"  # the rule's name of what was verified by training

# Doublings of the length, from the longest trials to the coming run, up to which a rate can be confident; the second is
# for trials that can't pass over their data as often as the coming run: advice/README.md#most_doublings
MOST_DOUBLINGS, MOST_DOUBLINGS_UNMATCHED = 6.0, 2.0
FAR_BEYOND = 3.0  # times FARTHEST: advice/README.md#farthest
LEAST_COST = 0.02  # of the fall: nearer to the best, three seeds don't tell a rate from it


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Verification:
    """What training showed. `confirmed` is None if it can't tell; then `lr` is None and `hint` says what to do.

    `lr` is the rate to use: the recommended one if it was confirmed, else the corrected one. `pick` is its evidence,
    `schedule` the config with it, `updates` counts everything spent, the sweep included. `against` says what each rate
    to compare with lost, your own optimizer's first; `worse` is the first one's share of what training gains that it
    lost more than `lr`, None without one or without its trial. `account` says what the trials were to cost, and did.
    `answer` says the rate, what it may cost and each doubt, `evidence` where the trials point; `why` is both.
    """

    confirmed: bool | None
    lr: float | None
    pick: Pick
    picks: tuple[Pick, ...]
    answer: str
    hint: str
    schedule: ScheduleConfig | None
    updates: int
    trials: tuple[ShortRun, ...]
    evidence: str = ""
    worse: float | None = None
    against: tuple[Against, ...] = ()
    stop: Stop | None = None  # what interrupted the training; what was measured before it is kept
    account: Account | None = None

    def __str__(self) -> str:
        return f"{self.why} {self.hint}".strip()

    def __repr__(self) -> str:
        answer = {True: "confirmed", False: "corrected", None: "not verified"}[self.confirmed]
        return f"Verification({answer}: {pick_text(self.pick)})"

    @property
    def why(self) -> str:
        """The whole answer, with where the trials point."""
        return f"{self.answer} {self.evidence}".rstrip()

    @property
    def status(self) -> Status:
        """How far `lr` may be trusted."""
        return self.pick.status

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the schedule config; the suffix says whether as YAML, JSON or TOML.

        Raises UsageError if there is none: training could not tell.
        """
        if self.schedule is None:
            raise UsageError("there is no schedule to save", hint=self.hint)
        dump(self.schedule, path)


def conclude(plan: TrialPlan, evidence: SweepEvidence) -> Verification:
    """Return what the runs of `plan` show of the recommended rate at the full length, even if there are too few."""
    request, sweep, trials = plan.request, plan.sweep, plan.runs
    long, decision = plan.long_profile, plan.decision
    advice = advise(evidence, Request(steps=request.steps, schedule=request.schedule, warmup=request.warmup))
    updates = sweep.updates + plan.updates
    if long is None or decision is None:
        pick = Pick(rule=VERIFIED, lr=None, low=None, high=None, status=Status.REFUSED, why=_no_answer(long))
        return Verification(
            confirmed=None,
            lr=None,
            pick=pick,
            picks=(pick, *advice.picks),
            answer=f"Nothing could be verified, and no config was changed: {pick.why}.",
            hint="give a larger --budget, so that trials take longer",
            schedule=None,
            updates=updates,
            trials=trials,
        )
    confirmed = decision.kept
    lr = request.lr if confirmed else round_lr(10**decision.x, 3)
    shape, shapes = _best_shape(request, long, plan.shapes_tried)
    doubts = tuple(dict.fromkeys((*_doubts(plan, long, decision), *evidence.doubts, *_shown_doubts(plan))))
    pick = _pick(lr, plan, long, decision, doubts)
    warmup = carried_warmup(request.warmup, request.schedule, shape)
    config = advise(evidence, Request(steps=request.steps, schedule=shape, warmup=warmup, lr=lr)).schedule
    against = tuple(_compared(plan, rate, long, lr) for rate in request.against)
    held = ("Each trial kept its rate constant, as the run will.",) if request.schedule == CONSTANT else ()
    verdict = (
        f"confirmed: {format_lr(request.lr)}"
        if confirmed
        else f"corrected from {format_lr(request.lr)} to {format_lr(lr)}"
    )
    doubted = f"Uncertain: {'; '.join(doubts)}." if doubts else ""
    said = (f"The peak rate is {verdict}.", *held, _expected(long, decision), *map(str, against), doubted, shapes)
    return Verification(
        confirmed=confirmed and shape == request.schedule,
        lr=lr,
        pick=pick,
        picks=(pick, *advice.picks),
        answer=" ".join(filter(None, said)),
        evidence=f"{_said(plan, long, decision)}.",
        hint="",
        schedule=_with_evidence(config, pick, updates),
        updates=updates,
        trials=trials,
        worse=against[0].worse if against else None,
        against=against,
    )


def _compared(plan: TrialPlan, rate: float, long: LrProfile, lr: float) -> Against:
    """Return what `rate` lost against `lr`, the one that is decided for, in a trial on the same held-out batches."""
    setup, found = plan.sweep.setup, plan.worse(rate)
    if setup.start is not None and setup.start.lr == rate:
        whose = "The rate at which it stopped"
    else:
        whose = whose_rate(setup, rate)
    if isinstance(found, str):
        tried = plan.trial_at(rate) is not None
        return Against(lr=rate, worse=None, measured=tried, why=found, whose=whose, by="verify")
    worse: float | None = found
    why = f"in a trial of {long.steps} updates on the same data"
    doubts = _shown_doubts(plan)
    if doubts:  # lower losses may not be better then
        worse, why = None, doubts[0]
    elif CLOSE < abs(found) <= long.roughness:
        why += ", which scatter as much by chance"
    elif found > CLOSE and rate < lr and long.steps < plan.request.steps:
        why += "; less in a longer one, since slow rates catch up"
    return Against(lr=rate, worse=worse, measured=True, why=why, whose=whose, by="verify")


def _shown_doubts(plan: TrialPlan) -> tuple[str, ...]:
    """Return why the losses of the sweep or of the trials may say little of what is learned."""
    return tuple(dict.fromkeys((*plan.sweep.doubts, *(trial.doubt for trial in plan.runs if trial.doubt))))


def _best_shape(request: VerifyRequest, long: LrProfile, tried: dict[str, float]) -> tuple[str, str]:
    """Return the shape to use, and a sentence on the others, empty if none was tried."""
    if not tried:
        return request.schedule, ""
    best = min(tried, key=lambda name: tried[name])
    gain = (long.lowest.loss - tried[best]) / long.fall
    if gain > BETTER:
        return best, f"Of the shapes {best} ended lowest, {gain:.0%} of the fall below {request.schedule}."
    return request.schedule, f"No other shape ended more than {BETTER:.0%} of the fall below {request.schedule}."


def _pick(lr: float, plan: TrialPlan, long: LrProfile, decision: Decision, doubts: tuple[str, ...]) -> Pick:
    """Return the pick; its interval are the rates that lose at most DEAR in the longest trials, and itself."""
    x, moved = decision.x, decision.drift.moved if decision.drift.expected else 0.0
    low, high = (min(end + moved, most) for end, most in zip(long.near_best(DEAR), (x, math.inf), strict=True))
    status = Status.UNCERTAIN if doubts else Status.CONFIDENT
    why = "; ".join((_said(plan, long, decision), *doubts))
    return Pick(rule=VERIFIED, lr=lr, low=10 ** min(low, x), high=10 ** max(high, x), status=status, why=why)


def _expected(long: LrProfile, decision: Decision) -> str:
    """Return a sentence on what the rate may cost, and what a third of it and three times as much lost in trials."""
    cost = decision.cost
    if math.isinf(cost) or decision.x < long.points[0].x - LEAST_ERROR:
        said = "What it may cost can't be told"
    else:
        said = f"It is expected to lose at most {max(cost, LEAST_COST):.0%} of what training gains (at 90 %)"
    known = [
        f"{name} lost {share:.0%}"
        for name, factor in (("a third of it", 1 / 3), ("three times as much", 3.0))
        if not math.isnan(share := long.lost(decision.x + math.log10(factor)))
    ]
    trials = f"; in trials of {long.steps} updates {', '.join(known)}" if known else ""
    return f"{said}{trials}."


def _doubts(plan: TrialPlan, long: LrProfile, decision: Decision) -> tuple[str, ...]:
    """Return why the verified rate may yet be wrong."""
    drift, doubts = decision.drift, []
    if math.isinf(decision.cost):
        doubts.append("no trial tells what somewhat higher rates lose")
    elif decision.cost > DEAR:
        doubts.append(f"it may lose more than {DEAR:.0%}")
    alike = max(point.loss for point in long.points) <= long.lowest.loss + DEAR * long.fall
    if drift.doublings and alike and _much_is_left(plan, long):
        doubts.append(
            "all rates end alike, and much of the loss is left: longer runs may learn what these didn't begin on"
        )
    doubts += only_a_constant(run for run in plan.runs if run.plan.steps == long.steps)
    if not plan.tested:
        doubts.append("the budget paid for no trial at the rate itself")
    free = not (decision.kept or decision.limit or drift.expected)
    if free and abs(drift.weighed * drift.doublings) > FAR_BEYOND * FARTHEST:
        doubts.append(f"the trials point far beyond a factor of {10**FARTHEST:.1f}, and it is moved by no more")
    if decision.limit and decision.x < drift.x:
        doubts.append(f"the trials point beyond it, but {decision.limit}")
    if plan.chance_onset:
        doubts.append(plan.chance_onset)
    fresh = any(trial.fresh for trial in plan.runs)
    if fresh:
        cause = (
            "the script's batches could not be repeated"
            if plan.sweep.setup.of_script
            else "the batches were too large to keep"
        )
        doubts.append(f"{cause}, so no trial passed over its data as often as the run will")
    matched = plan.sweep.batches_per_epoch is not None and not fresh and not plan.on_all_data
    if drift.doublings > (MOST_DOUBLINGS if matched else MOST_DOUBLINGS_UNMATCHED):
        doubts.append(f"the coming run is {2**drift.doublings:.0f} times as long as any that was tried")
    return tuple(doubts)


def _much_is_left(plan: TrialPlan, long: LrProfile) -> bool:
    """Tell whether trials ended so high that they may all sit on a shelf that a longer run leaves.

    Not if little of the first loss is left, nor if they came far below the best constant prediction: such a shelf is
    where only how often each target comes has been learned.
    """
    lowest, constants = long.lowest.loss, [run.constant for run in plan.runs if run.plan.steps == long.steps]
    known = [constant for constant in constants if constant is not None]
    far_below = len(known) == len(constants) > 0 and lowest <= FAR_BELOW * min(known)
    return lowest > SHELF * abs(long.start) and not far_below


def _said(plan: TrialPlan, long: LrProfile, decision: Decision) -> str:
    drift = decision.drift
    fresh = any(trial.fresh for trial in plan.runs)
    batches = None if fresh else plan.different_batches(long.steps)
    data = (
        ""
        if batches is None
        else f" on {format_count(batches, 'batch', 'batches')}, passed over as often as the run will,"
    )
    middle = format_lr(10 ** long.near_best_middle(NEAR_BEST))
    said = f"{len(long.points)} runs of {long.steps} updates{data} end lowest around {middle}"
    if drift.doublings == 0:
        kept = f"; the next rate above lost more than {CLIFF:.0%} of the fall, so a distance is kept"
        cliff = kept if drift.cliff else ""
        return f"{said}, and they are as long as the coming run{cliff}"
    if drift.per_doubling is None:
        nothing = " learned next to nothing, and" if plan.on_all_data else ""
        moved = f"; shorter ones{nothing} did not tell how that moves with the length"
    else:
        moved = f", and the best rate moved {format_factor(drift.per_doubling)} with each doubling of the length"
    if drift.expected:
        taken = "that" if drift.per_doubling is None else format_factor(drift.weighed)
        moved += (
            f"; {step_falls(plan.sweep.setup.optimizer.name)} {format_factor(drift.expected)} with each doubling, so "
            f"{taken} is taken"
        )
        return f"{said}{moved}"
    share = left_over(drift, repeated=plan.repeated)
    left = f"; the longer run is taken to lose {share:.0%} of what trials lose" if share < 1 else ""
    if drift.per_doubling is None:
        return f"{said}{moved}{left}{_given_up(plan, decision)}"
    bound = f" (it is moved by a factor of {10**FARTHEST:.1f} at most)" if drift.cut else ""
    band = f", but {decision.limit}" if decision.x > drift.x and decision.limit else ""
    points = f"which for {plan.request.steps} updates points to {format_lr(10**drift.x)}{bound}{band}{left}"
    return f"{said}{moved}, {points}{_given_up(plan, decision)}"


def _given_up(plan: TrialPlan, decision: Decision) -> str:
    """Say why the asked rate was given up, if that was for what it may lose alone."""
    if math.isnan(decision.risk):
        return ""
    may_lose = f"it may lose {min(1.0, decision.risk):.0%} of what training gains"
    return f"; {format_lr(plan.request.lr)} did about as well, but rates close above it failed: {may_lose}"


def _no_answer(long: LrProfile | None) -> str:
    if long is None:
        return "no run of the longer length was finished"
    if len(long.points) == 1:
        return "a single rate was tried"
    learned = f"{format_loss(long.start)} to {format_loss(long.lowest.loss)}"
    return f"the best run of {long.steps} updates learned next to nothing ({learned}): what tells them apart is chance"


def _with_evidence(config: ScheduleConfig | None, pick: Pick, updates: int) -> ScheduleConfig | None:
    if config is None or config.evidence is None:
        return config
    evidence = config.evidence.model_copy(
        update={"rule": VERIFIED, "status": pick.status, "why": pick.why, "updates": updates}
    )
    return config.model_copy(update={"evidence": evidence})
