"""What another rate would lose against the pick, by the sweep's own short runs and its curve, or by a trial."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lrfinder.advice.constant_rate import CONSTANT
from lrfinder.advice.sweep.evidence import SweepEvidence
from lrfinder.advice.verify.decision import CLOSE
from lrfinder.errors import UsageError
from lrfinder.formatting import format_interval, format_lr
from lrfinder.records import Setup, Start
from lrfinder.search.lr_profile import LrProfile, lr_profile

YOURS = "Yours"
SAME = 0.02  # decades: nearer, a run was made at the very rate (rates are rounded)


@dataclass(frozen=True, slots=True, kw_only=True)
class Against:
    """A rate compared with the pick: `worse` is the share of what runs gain that it loses more; None: not known.

    `measured`: a run was made at it. `why` says how that is known, or why not. `whose` begins the sentence on it. `by`
    is the command whose runs tell.
    """

    lr: float
    worse: float | None
    measured: bool
    why: str
    whose: str = YOURS
    by: str = "sweep"

    def __str__(self) -> str:
        verified = self.by == "verify"
        longer = "" if verified else f" Of longer runs `lrfinder verify --against {format_lr(self.lr)}` tells."
        yours = f"{self.whose}, {format_lr(self.lr)},"
        if self.worse is None:
            tried = "can't be judged by its trial" if self.measured else "was not tried"
            unknown = tried if verified else "can't be judged by this sweep"
            return f"{yours} {unknown}: {self.why}.{longer}"
        if self.worse < -CLOSE:
            return f"{yours} ends lower by {-self.worse:.0%} of what training gains, {self.why}.{longer}"
        if self.worse <= CLOSE:
            fine = "fine" if verified else "fine so far"
            return f"{yours} is {fine}: it loses at most {CLOSE:.0%} more, {self.why}.{longer}"
        return f"{yours} loses {self.worse:.0%} more of what training gains, {self.why}.{longer}"


def whose_rate(setup: Setup, lr: float) -> str:
    """Return how the sentence on a rate begins; if the optimizer's own isn't known, it is taken to be yours."""
    return YOURS if setup.optimizer.own_lr in (lr, None) else "The rate to compare with"


def compare_rate(evidence: SweepEvidence, lr: float, pick: float, schedule: str | None = None) -> Against:
    """Compare `lr` with the `pick` in runs as short as the sweep's own; nothing is trained.

    These decay their rate, so of a coming run of the constant `schedule` they don't tell.

    Between two runs the loss is taken on the line between them, which is at least what a convex valley has. Outside of
    them the loss isn't known: the trainable band then says what is. Raises UsageError for a rate that can't be.
    """
    if not 0 < lr < math.inf:
        raise UsageError(f"the rate to compare with must be a finite number above 0, got {lr}")
    whose = whose_rate(evidence.result.setup, lr)
    compared = _compared(evidence, lr, pick, schedule)
    if isinstance(compared, str):
        return Against(lr=lr, worse=None, measured=False, why=compared, whose=whose)
    worse, measured, how = compared
    return Against(lr=lr, worse=worse, measured=measured, why=how, whose=whose)


def _compared(evidence: SweepEvidence, lr: float, pick: float, schedule: str | None) -> tuple[float, bool, str] | str:
    """Return which share `lr` lost more, whether a run was made at it, and how that is known; or why it isn't."""
    result, x = evidence.result, math.log10(lr)
    if result.doubts:
        return result.doubts[0]
    if schedule == CONSTANT:
        return "its runs let the rate decay, and the coming one keeps it"
    profile = None if evidence.profile is None else lr_profile(result.runs, result.settings.run_steps)
    if profile is None:
        return f"no short run learned, and {_place(evidence, lr)}"
    measured = any(abs(point.x - x) <= SAME for point in profile.points)
    lost, lost_by_pick = _lost(profile, x), _lost(profile, math.log10(pick))
    if math.isnan(lost) or math.isnan(lost_by_pick):
        tried = format_interval(10 ** profile.points[0].x, 10 ** profile.points[-1].x)
        beyond = _place(evidence, lr) if math.isnan(lost) else f"none near {format_lr(pick)}"
        return f"its runs were made at {tried}, and {beyond}"
    worse = lost - lost_by_pick
    how = f"in a run of {profile.steps} updates" if measured else f"read between runs of {profile.steps} updates"
    if CLOSE < abs(worse) <= profile.roughness:
        how += ", which scatter as much by chance"
    return worse, measured, how


def start_text(start: Start | None, evidence: SweepEvidence, pick: float | None, schedule: str | None = None) -> str:
    """Say that the pick is for a run that goes on, and whether to change its rate; empty if it begins anew."""
    if start is None:
        return ""
    after = "" if start.step is None else f" after {start.step} updates"
    state = "with" if start.optimizer else "without"
    goes_on = f"The run goes on from {start.file}{after}, {state} its optimizer state."
    return goes_on if pick is None else f"{goes_on} {_rewarm(start, evidence, pick, schedule)}"


def _rewarm(start: Start, evidence: SweepEvidence, pick: float, schedule: str | None) -> str:
    """Say whether to go on at the rate at which the run stopped."""
    if start.lr is None:
        return "At which rate it stopped isn't known, so neither is whether to raise it again."
    if start.lr == 0:
        return "It stopped at rate 0, at its end: going on needs a rate, and this is one to warm up to."
    stopped = f"It stopped at {format_lr(start.lr)}"
    seen = compare_rate(evidence, start.lr, pick, schedule)
    if seen.worse is None:
        return f"{stopped}; whether to change that isn't known: {seen.why}."
    if seen.worse <= CLOSE:
        return f"{stopped}; there is no reason to change that: it loses at most {CLOSE:.0%} more, {seen.why}."
    change = "warm up again, to" if pick > start.lr else "go down to"
    loses = f"at the old rate it loses {seen.worse:.0%} more of what training gains"
    return f"{stopped}; {change} {format_lr(pick)}: {loses}, {seen.why}."


def _lost(profile: LrProfile, x: float) -> float:
    """Return which share of the fall the rate 10**x lost; that of the nearest run if one was made at it."""
    near = min(profile.points, key=lambda point: abs(point.x - x))
    return profile.lost(near.x if abs(near.x - x) <= SAME else x)


def _place(evidence: SweepEvidence, lr: float) -> str:
    """Say where a rate lies that no short run tells of."""
    band = evidence.band
    if band is None:
        return "there is no trainable band"
    if lr < band.low:
        return "it lies below the trainable band, where training crawls"
    if lr > band.high:
        return "it lies above the trainable band, where training is unstable"
    return "it lies inside the trainable band"
