"""Evidence and advice in one call, for tests that ask one question of a sweep."""

from __future__ import annotations

from collections.abc import Iterable

from lrfinder.advice import Advice, Request, advise, gather_evidence
from lrfinder.advice.sweep.exploration import next_run, start_of
from lrfinder.advice.verify.budget import VerifyRequest
from lrfinder.advice.verify.trial_plan import TrialPlan
from lrfinder.advice.verify.verification import Verification, conclude
from lrfinder.records import RunPlan, ShortRun, SweepResult


def advice_on(result: SweepResult, request: Request, trials: Iterable[ShortRun] = ()) -> Advice:
    return advise(gather_evidence(result), request, trials)


def next_run_of(result: SweepResult) -> RunPlan | None:
    return next_run(result, start_of(result))


def next_trials(request: VerifyRequest, sweep: SweepResult, trials: tuple[ShortRun, ...]) -> tuple[RunPlan, ...]:
    return TrialPlan(request=request, sweep=sweep, runs=trials).next_runs()


def concluded(request: VerifyRequest, sweep: SweepResult, trials: tuple[ShortRun, ...]) -> Verification:
    return conclude(TrialPlan(request=request, sweep=sweep, runs=trials), gather_evidence(sweep))
