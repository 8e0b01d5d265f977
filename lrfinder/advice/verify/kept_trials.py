"""Which of the trials in a run folder belong to a verification."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from lrfinder.advice.verify.budget import VerifyRequest
from lrfinder.advice.verify.trial_plan import TrialPlan
from lrfinder.records import ShortRun, SweepResult
from lrfinder.rules.trials import LEVEL


def replayed(request: VerifyRequest, sweep: SweepResult, kept: Iterable[ShortRun]) -> TrialPlan:
    """Return the plan of `request` with those of the `kept` trials that belong to it; the others are counted only.

    If all of them together confirm the rate, they all do, and nothing is left to make. Else those that the plan asks
    for: it follows from what was measured before, so it is made again from nothing, and each trial that it names is
    taken from `kept` until one is missing. Then the answer is the same whatever was tried before: trials around another
    rate, far off, would crowd the profile and spend the budget (advice/README.md#kept-trials).
    """
    kept = tuple(kept)
    usable = {trial.plan: trial for trial in kept if trial.seed == request.seed and not trial.stop.worth_repeating}
    plan = TrialPlan(request=request, sweep=sweep, runs=tuple(usable.values()))
    if not _confirms(plan):
        plan = dataclasses.replace(plan, runs=())
        while found := [usable.pop(wanted) for wanted in plan.next_runs() if wanted in usable]:
            plan = dataclasses.replace(plan, runs=(*plan.runs, *found))
    spent = sum(trial.updates for trial in kept) - sum(trial.updates for trial in plan.runs)
    return dataclasses.replace(plan, spent_elsewhere=spent)


def _confirms(plan: TrialPlan) -> bool:
    long, decision = plan.long_profile, plan.decision
    confirmed = decision is not None and decision.kept and plan.tested
    return confirmed and long is not None and long.level(LEVEL) and not plan.next_runs()
