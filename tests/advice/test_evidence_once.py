"""A command fits the curve once, whatever it concludes from it; an old rule name still works."""

from __future__ import annotations

import dataclasses

import pytest

from helpers.advice import advice_on, concluded, next_trials
from helpers.curves import falls_and_explodes, sweep_of, traces_of
from helpers.runs import explored, parabola, run_at
from lrfinder.advice import Request, advise, gather_evidence
from lrfinder.advice.sweep import evidence
from lrfinder.advice.verify.budget import VerifyRequest
from lrfinder.advice.verify.trial_plan import TrialPlan
from lrfinder.advice.verify.verification import conclude
from lrfinder.fit import fit_curve
from lrfinder.records import SweepSettings

SWEEP = explored(
    sweep_of(traces_of(SweepSettings(), falls_and_explodes, noise=0.02, stop_above=5.0), SweepSettings()), parabola(-2)
)


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    made: list[object] = []

    def counted(*args: object, **keywords: object) -> object:
        made.append(args)
        return fit_curve(*args, **keywords)

    monkeypatch.setattr(evidence, "fit_curve", counted)
    return made


def test_recommending_fits_once(fits: list[object]) -> None:
    advise(gather_evidence(SWEEP), Request(steps=400))
    assert len(fits) == 1


def test_verifying_fits_once(fits: list[object]) -> None:
    found = gather_evidence(SWEEP)
    lr = advise(found, Request(steps=400)).lr
    plan = TrialPlan(request=VerifyRequest(steps=400, budget=2000, lr=lr), sweep=SWEEP)
    while plans := plan.next_runs():
        plan = dataclasses.replace(plan, runs=(*plan.runs, *(run_at(one, parabola(-2)) for one in plans)))
    assert conclude(plan, found).lr is not None
    assert len(fits) == 1


def test_the_search_for_short_runs_fits_once(fits: list[object]) -> None:
    bare = dataclasses.replace(SWEEP, runs=())
    assert len(explored(bare, parabola(-2)).runs) >= 3
    assert len(fits) == 1


def test_the_old_name_of_a_rule_works_with_one_warning() -> None:
    with pytest.warns(FutureWarning, match="'short-runs' is now called 'trials'") as caught:
        old = advice_on(SWEEP, Request(steps=400, rule="short-runs"))
    assert len(caught) == 1
    assert old == advice_on(SWEEP, Request(steps=400, rule="trials"))
    assert old.picks[0].rule == "trials"


def test_a_plan_knows_the_same_however_its_runs_came_in() -> None:
    request = VerifyRequest(steps=1600, budget=800, lr=0.01)
    runs = tuple(run_at(one, parabola(-2)) for one in next_trials(request, SWEEP, ()))
    assert concluded(request, SWEEP, runs).pick == concluded(request, SWEEP, runs[::-1]).pick
