"""Verification against a world whose best rate at every length is known."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.advice import advice_on, concluded, next_trials
from helpers.curves import falls_and_explodes, sweep_of, traces_of
from helpers.runs import START, explored, parabola, run_at
from lrfinder.advice import Request, gather_evidence
from lrfinder.advice.verify.budget import VerifyRequest, budget_in_updates, default_budget, read_budget
from lrfinder.advice.verify.decision import LOST
from lrfinder.advice.verify.kept_trials import replayed
from lrfinder.advice.verify.trial_plan import TrialPlan
from lrfinder.advice.verify.verification import Verification, conclude
from lrfinder.api.find import Found, with_verification
from lrfinder.api.verify import VerifyResult
from lrfinder.errors import UsageError
from lrfinder.records import Mode, RunPlan, ShortRun, Status, Stop, SweepResult, SweepSettings
from lrfinder.report.documents import find_document, json_text, verify_document
from lrfinder.search.drift import DRIFT_SPREAD_ONCE, LOCATING

SWEEP = sweep_of(traces_of(SweepSettings(), falls_and_explodes, noise=0.02, stop_above=5.0), SweepSettings())
ALONE = SweepSettings(mode=Mode.CONTINUOUS)


def world(best: float, drift: float):
    """The best rate of runs of 50 updates is 10**best, and moves by `drift` decades with every doubling."""
    return lambda plan: run_at(plan, parabola(best + drift * math.log2(plan.steps / 50)))


def verified(request: VerifyRequest, sweep: SweepResult, make) -> tuple[Verification, tuple[ShortRun, ...]]:
    trials: tuple[ShortRun, ...] = ()
    while plans := next_trials(request, sweep, trials):
        assert len(trials) < 100, "verification has no end"
        trials += tuple(make(plan) for plan in plans)
    return concluded(request, sweep, trials), trials


@given(
    best=st.floats(-3, -1.5),
    case=st.sampled_from([(200, -0.2), (200, 0.0), (400, 0.2), (400, 0.0), (1600, -0.05), (1600, 0.0), (1600, 0.05)]),
)
@settings(deadline=None, max_examples=20)
def test_the_best_rate_of_the_full_length_is_found_within_the_budget(best: float, case: tuple[int, float]) -> None:
    steps, drift = case
    make = world(best, drift)
    sweep = explored(SWEEP, parabola(best))
    request = VerifyRequest(steps=steps, budget=default_budget(steps), lr=10**best)
    verification, trials = verified(request, sweep, make)
    assert sum(trial.updates for trial in trials) <= request.budget
    assert len({run.plan.steps for run in (*sweep.runs, *trials)}) >= 2
    truth = best + drift * math.log2(steps / 50)
    assert verification.lr is not None
    regret = ((math.log10(verification.lr) - truth) / 1.5) ** 2  # the world's parabolas are 1.5 decades wide
    assert regret < (0.02 if any(trial.plan.steps == steps for trial in trials) else LOST)
    assert verification.pick.low <= 10**truth * 10**0.2
    assert verification.pick.high >= 10**truth / 10**0.2
    assert verification.schedule.optimizer.lr == pytest.approx(verification.lr, rel=0.01)
    assert len(verification.schedule.lrs()) == steps
    assert verification.updates == sweep.updates + sum(trial.updates for trial in trials)


def test_a_short_run_is_tried_at_its_full_length() -> None:
    request = VerifyRequest(steps=400, budget=default_budget(400), lr=10**-2.5)
    verification, trials = verified(request, explored(SWEEP, parabola(-2)), world(-2, 0))
    assert {(trial.plan.steps, trial.plan.batches) for trial in trials} == {(400, None)}
    assert "as long as the coming run" in verification.why
    assert verification.pick.status is Status.CONFIDENT


def overfitting(plan: RunPlan) -> ShortRun:
    """The best rate is 10**-2 on fresh batches, and 10**-3 for runs that pass over their data 16 times or more."""
    passes = 1.0 if plan.batches is None else plan.steps / plan.batches
    return run_at(plan, parabola(-3 if passes >= 16 else -2))


def in_epochs_of(sweep: SweepResult, batches: int | None) -> SweepResult:
    return dataclasses.replace(sweep, setup=dataclasses.replace(sweep.setup, batches_per_epoch=batches))


def test_trials_pass_over_their_data_as_often_as_the_coming_run() -> None:
    sweep = in_epochs_of(explored(SWEEP, parabola(-2)), 100)
    request = VerifyRequest(steps=2000, budget=800, lr=1e-2)
    verification, trials = verified(request, sweep, overfitting)
    assert {trial.plan.steps for trial in trials} == {47, 141}
    for trial in trials:
        assert trial.plan.steps / trial.plan.batches == pytest.approx(20, rel=0.25)
    assert math.log10(verification.lr) == pytest.approx(-3, abs=0.15)
    assert verification.confirmed is False
    assert (
        "runs of 141 updates on 7 batches, passed over as often as the run will, end lowest around" in verification.why
    )


@pytest.mark.parametrize("batches", [None, 2000, 5000])
def test_trials_of_a_run_that_sees_no_data_twice_or_nobody_knows_train_on_all_that_come(batches: int | None) -> None:
    sweep = in_epochs_of(explored(SWEEP, parabola(-1.4)), batches)
    _, trials = verified(VerifyRequest(steps=2000, budget=800, lr=1e-2), sweep, overfitting)
    assert {trial.plan.batches for trial in trials} == {None}
    assert {trial.plan.steps for trial in trials} == {200}, "the sweep's own short runs do for the shorter length"


def test_the_rate_to_verify_is_tried_first_unless_the_sweeps_own_runs_rule_it_out() -> None:
    sweep = explored(SWEEP, parabola(-1.4))
    assert len(sweep.runs) == 3
    asked = VerifyRequest(steps=400, budget=2000, lr=10**-1.3)
    assert [plan.lr for plan in next_trials(asked, sweep, ())] == pytest.approx([10**-1.3, 0.1, 10**-1.6], rel=1e-3)
    far = next_trials(dataclasses.replace(asked, lr=10.0), sweep, ())[0].lr
    assert 10**-1.4 < far < 10**-0.8  # the runs fell within 15 % of the best up to 0.6 decade above it


@pytest.mark.parametrize("asked", [-1.4, -2.2, -3.2, 0.3])
def test_the_asked_rate_and_the_one_that_is_decided_for_have_trials_of_the_greatest_length(asked: float) -> None:
    sweep = in_epochs_of(explored(SWEEP, parabola(-1.4)), 100)
    verification, trials = verified(VerifyRequest(steps=2000, budget=800, lr=10**asked), sweep, world(-1.37, 0))
    longer = [math.log10(trial.plan.lr) for trial in trials if trial.plan.steps == 141]
    assert min(abs(x - math.log10(verification.lr)) for x in longer) <= 0.15
    assert verification.confirmed is (asked == -1.4)
    # The highest one lost all at the shorter length: no longer trial is needed to tell. A low one may just be slow.
    assert (min(abs(x - asked) for x in longer) < 0.001) is (asked < 0)


def test_trials_that_learn_nothing_of_few_batches_are_fewer_longer_and_on_all_data() -> None:
    """Rows of an embedding that never come are never trained: of 14 batches nothing is learned that generalizes."""
    sweep = in_epochs_of(explored(SWEEP, parabola(-2)), 200)

    def make(plan: RunPlan) -> ShortRun:
        return run_at(plan, (lambda _: START - 0.001) if plan.batches is not None else parabola(-2))

    verification, trials = verified(VerifyRequest(steps=2000, budget=800, lr=1e-2), sweep, make)
    assert [(trial.plan.steps, trial.plan.batches) for trial in trials] == [(47, 5)] * 3 + [(219, None)] * 3
    assert verification.confirmed is True
    assert "219 updates" in verification.why
    assert verification.status is Status.UNCERTAIN, "no trial passed over its data as often as the run will"
    assert "learned next to nothing, and did not tell" in verification.why


@pytest.mark.parametrize("learns_below", [True, False])
def test_trials_that_learn_a_few_batches_by_heart_get_lower_rates_before_all_data(learns_below: bool) -> None:
    """The held-out losses of an embedding that passes 25 times over two batches; all data would hide that it does."""
    sweep = in_epochs_of(explored(SWEEP, parabola(-2)), 100)
    by_heart = {-2.0: 0.4, -1.5: 1.2, -2.5: -0.03, -3.0: -0.4, -3.5: -0.2}  # above the start, at 10**x

    def make(plan: RunPlan) -> ShortRun:
        if plan.batches is None:
            return run_at(plan, parabola(-2))
        if plan.steps > 47:
            return run_at(plan, parabola(-2.8))
        return run_at(plan, lambda x: START + (by_heart[round(x, 1)] if learns_below or x > -2.7 else 0.01))

    verification, trials = verified(VerifyRequest(steps=2000, budget=800, lr=1e-2), sweep, make)
    shorter = [trial for trial in trials if trial.plan.steps == 47]
    assert [round(math.log10(trial.plan.lr), 1) for trial in shorter[:3]] == [-2.0, -1.5, -2.5]
    assert len(shorter) == (5 if learns_below else 4)
    assert {trial.plan.batches is None for trial in trials if trial.plan.steps > 47} == {not learns_below}
    assert verification.confirmed is not learns_below
    assert math.log10(verification.lr) == pytest.approx(-2.8 if learns_below else -2, abs=0.3)
    assert sum(trial.updates for trial in trials) <= 800


def test_noise_of_trials_that_learned_nothing_is_no_valley() -> None:
    sweep = in_epochs_of(explored(SWEEP, parabola(-2)), 200)

    def make(plan: RunPlan) -> ShortRun:
        return run_at(plan, lambda x: START - 0.002 * (1 + math.sin(17 * x)))

    verification, _ = verified(VerifyRequest(steps=2000, budget=800, lr=1e-2), sweep, make)
    assert (verification.confirmed, verification.lr, verification.schedule) == (None, None, None)


def test_trials_of_another_length_in_the_log_don_t_count() -> None:
    sweep = in_epochs_of(explored(SWEEP, parabola(-2)), 100)
    _, others = verified(VerifyRequest(steps=2000, budget=800, lr=1e-2), sweep, overfitting)
    plans = next_trials(VerifyRequest(steps=4000, budget=2000, lr=1e-2), sweep, others)
    assert [plan.lr for plan in plans] == [0.01, 0.03162, 0.003162]
    assert not {(plan.steps, plan.batches) for plan in plans} & {(o.plan.steps, o.plan.batches) for o in others}


def test_a_best_rate_that_moves_far_with_the_length_is_uncertain() -> None:
    sweep = in_epochs_of(explored(SWEEP, parabola(-2)), 100)
    verification, _ = verified(VerifyRequest(steps=1600, budget=800, lr=1e-2), sweep, world(-2, -0.3))
    assert verification.pick.status is Status.UNCERTAIN


def under(sweep: SweepResult, optimizer: str) -> SweepResult:
    facts = dataclasses.replace(sweep.setup.optimizer, name=optimizer, settings={})
    return dataclasses.replace(sweep, setup=dataclasses.replace(sweep.setup, optimizer=facts))


@given(best=st.floats(-3, -1.5), shown=st.floats(-0.05, 0.05))
@settings(deadline=None, max_examples=20)
def test_adagrads_drift_is_known_where_two_lengths_don_t_show_it_and_is_said(best: float, shown: float) -> None:
    """Up to 141 updates the best rate hardly moves; from there on it goes with the root of the length."""
    sweep = in_epochs_of(explored(SWEEP, parabola(best)), 40)

    def make(plan: RunPlan) -> ShortRun:
        return run_at(plan, parabola(best + shown * math.log2(plan.steps / 50)))

    request = VerifyRequest(steps=400, budget=800, lr=10 ** (best - 0.9))  # far enough to be corrected
    found = {name: verified(request, under(sweep, name), make)[0] for name in ("Adagrad", "SGD")}
    doublings = math.log2(400 / 141)
    truth = best + shown * math.log2(141 / 50) + doublings * math.log10(2) / 2
    off = {name: abs(math.log10(verification.lr) - truth) for name, verification in found.items()}
    assert off["Adagrad"] < 0.13
    assert off["SGD"] > off["Adagrad"]
    assert "Adagrad's own step falls as the root of the number of updates" in found["Adagrad"].why
    assert "up by a factor of 1.41 with each doubling, so up by a factor of 1." in found["Adagrad"].why
    assert "root" not in found["SGD"].why


@pytest.mark.parametrize(("batches", "moved"), [(1600, True), (1599, False), (None, False)])
def test_adagrads_drift_moves_a_rate_that_trials_confirm_if_the_run_is_known_to_see_its_data_once(
    batches: int | None, moved: bool
) -> None:
    """The best rate of 141 updates was asked for; three and a half doublings later it is a factor of 3.4 higher."""
    sweep = in_epochs_of(explored(SWEEP, parabola(-2)), batches)

    def make(plan: RunPlan) -> ShortRun:
        return run_at(plan, parabola(-2 + math.log10(2) / 2 * math.log2(plan.steps / 141), width=0.8))

    request = VerifyRequest(steps=1600, budget=800, lr=1e-2)
    verification, _ = verified(request, under(sweep, "Adagrad"), make)
    assert (math.log10(verification.lr) > -1.8) is moved
    assert verification.confirmed is not moved
    assert verified(request, under(sweep, "SGD"), make)[0].lr == pytest.approx(1e-2)


def test_where_no_shorter_run_tells_only_what_the_optimizer_lets_expect_is_carried_on() -> None:
    sweep = in_epochs_of(explored(SWEEP, parabola(-2)), 40)
    request = VerifyRequest(steps=400, budget=800, lr=10**-2.7)
    for name, rise in (("Adagrad", math.log2(400 / 141) * math.log10(2) / 2), ("SGD", 0.0)):
        _, trials = verified(request, under(sweep, name), world(-2, 0))
        verification = concluded(request, under(sweep, name), tuple(t for t in trials if t.plan.steps == 141))
        assert math.log10(verification.lr) == pytest.approx(-2 + rise, abs=0.05)
        assert "shorter ones did not tell how that moves with the length" in verification.why
        assert ("with each doubling, so that is taken" in verification.why) is (name == "Adagrad")


@pytest.mark.parametrize(
    ("width", "batches", "above", "status"),
    [
        (1.2, 100, False, Status.CONFIDENT),
        (0.6, 100, False, Status.CONFIDENT),
        (0.7, 5000, True, Status.CONFIDENT),
        (0.6, 5000, True, Status.UNCERTAIN),
    ],
)
def test_what_the_rate_may_cost_is_read_off_the_valley_and_said(
    width: float, batches: int, above: bool, status: Status
) -> None:
    """The upper tenth of a normal distribution begins 1.28 standard errors away; the next trial is 0.3 decade away.

    Between the two a line is taken, unless that says too much: then a trial is made there. A narrow valley costs less
    if trials passed over their data as often as the run, 11 times as long, will.
    """
    sweep = in_epochs_of(explored(SWEEP, parabola(-2)), batches)
    request = VerifyRequest(steps=1600, budget=800, lr=1e-2)
    verification, trials = verified(request, sweep, lambda plan: run_at(plan, parabola(-2, width=width)))
    doublings = math.log2(1600 / 141)
    end = 1.2816 * (0.0912 if batches < 1600 else math.hypot(LOCATING, doublings * DRIFT_SPREAD_ONCE))
    assert any(math.log10(trial.plan.lr) == pytest.approx(-2 + end, abs=1e-3) for trial in trials) is above
    assert verification.pick.status is status
    cost = int(verification.why.split("expected to lose at most ")[1].split("%")[0]) / 100
    left = 1 if batches > 1600 else 0.75**doublings
    lost = (end / width) ** 2 if above else (0.3 / width) ** 2 * end / 0.3
    assert cost == pytest.approx(max(0.02, left * lost), abs=0.0051)
    assert ("it may lose more than 5%" in verification.pick.why) is (status is Status.UNCERTAIN)
    assert ("Uncertain: it may lose more than 5%" in verification.answer) is (status is Status.UNCERTAIN)
    assert "end lowest around" in verification.evidence
    assert ("the longer run is taken to lose 36% of what trials lose" in verification.why) is (batches < 1600)


def test_in_hidden_worlds_what_is_stated_holds_and_nothing_confident_is_wrong() -> None:
    """Valleys with a cliff above, both of which move by chance until the run is 11 times as long as the trials."""
    rng, held, sure = np.random.default_rng(7), [], []
    sweep = in_epochs_of(explored(SWEEP, parabola(-2)), 100)
    evidence = gather_evidence(sweep)
    for _ in range(40):
        width, cliff, asked = rng.uniform(0.6, 1.6), rng.uniform(0.3, 1.2), rng.normal(-2, 0.2)
        moved, nearer = rng.normal(0, 0.0912), abs(rng.normal(0, 0.05))
        plan = TrialPlan(request=VerifyRequest(steps=1600, budget=800, lr=10**asked), sweep=sweep)
        while plans := plan.next_runs():
            xs = [math.log10(run.lr) for run in plans]
            ends = [math.inf if x > -2 + cliff else parabola(-2, width=width)(x) + rng.normal(0, 0.01) for x in xs]
            made = tuple(run_at(run, lambda _, end=end: end) for run, end in zip(plans, ends, strict=True))
            plan = dataclasses.replace(plan, runs=(*plan.runs, *made))
        verification = conclude(plan, evidence)
        x = math.log10(verification.lr) - (-2 + moved)
        regret = 1.0 if x > cliff - nearer else min(1.0, 0.75**3.5 * (x / width) ** 2)
        held.append(regret <= max(plan.decision.cost, 0.02))
        sure.append(verification.status is Status.CONFIDENT)
        assert regret < 0.1 or not sure[-1]
    assert np.mean(held) >= 0.9
    assert np.mean(sure) >= 0.5


def test_the_next_rate_above_that_lost_most_of_the_fall_is_kept_off_and_said() -> None:
    reached = {-2.3: 0.45, -2.0: 0.4, -1.7: 2.2}
    request = VerifyRequest(steps=400, budget=2000, lr=1e-2)
    own = explored(SWEEP, parabola(-2))
    verification, _ = verified(request, own, lambda plan: run_at(plan, lambda x: reached[round(x, 1)]))
    assert verification.confirmed is False
    assert math.log10(verification.lr) == pytest.approx(-2.25, abs=0.01)
    assert "; the next rate above lost more than 50% of the fall, so a distance is kept" in verification.why
    reached[-1.7] = 1.0
    verification, _ = verified(request, own, lambda plan: run_at(plan, lambda x: reached[round(x, 1)]))
    assert math.log10(verification.lr) > -2.2
    assert "distance" not in verification.why


def after_a_plateau(steepness: float, steps: int, truth, power: float = 2.0) -> Verification:
    """In u updates a run learns a share (u / 141)^power of what it will, up to all."""

    def shape(x: float) -> float:
        return START - 2.0 / (1 + math.exp(-steepness * (x + 2.2))) + 10 ** (2 * (x + 0.5)) * 0.05

    def after(updates: int, truth):
        return lambda x: START - (START - truth(x)) * min(1.0, updates / 141) ** power

    settings = SweepSettings()
    sweep = sweep_of(traces_of(settings, shape, noise=0.02, stop_above=5.0), settings)
    sweep = explored(sweep, after(settings.run_steps, parabola(-2)))
    doubt = gather_evidence(sweep).chance_onset
    request = VerifyRequest(steps=steps, budget=default_budget(steps), lr=1e-2, chance_onset=doubt)
    return verified(request, sweep, lambda plan: run_at(plan, after(plan.steps, truth)))[0]


@pytest.mark.parametrize(
    ("steepness", "steps", "truth", "status"),
    [
        (4.0, 400, parabola(-2), Status.CONFIDENT),
        (40.0, 400, parabola(-2), Status.UNCERTAIN),
        (40.0, 1600, parabola(-2, width=3), Status.UNCERTAIN),  # three times the rate wasn't tried
        (40.0, 1600, parabola(-1.6, width=3), Status.CONFIDENT),  # it ends alike, and most of the loss is gone
        (40.0, 1600, parabola(-1.6, width=3, fall=1.0), Status.UNCERTAIN),  # all end alike, as on a plateau
    ],
)
def test_after_a_plateau_one_seed_is_not_enough_unless_three_times_the_rate_left_it_as_well(
    steepness: float, steps: int, truth, status: Status
) -> None:
    verification = after_a_plateau(steepness, steps, truth)
    assert verification.pick.status is status
    told = "after a plateau a run's end depends on its seed as much as on the rate: verify with another --seed, too"
    assert (told in verification.why) is (status is Status.UNCERTAIN)


@pytest.mark.parametrize(
    ("power", "status"), [(2.0, Status.UNCERTAIN), (1.1, Status.UNCERTAIN), (0.9, Status.CONFIDENT)]
)
def test_a_plateau_that_the_shorter_trials_had_left_is_no_doubt(power: float, status: Status) -> None:
    """They learned more in each update than the longer ones did; on a plateau it is less."""
    verification = after_a_plateau(40.0, 1600, parabola(-2, width=1.2), power)
    assert verification.pick.status is status
    assert ("after a plateau" in verification.why) is (status is Status.UNCERTAIN)


@pytest.mark.parametrize(("best", "steepness", "confirmed"), [(-1.2, 40, True), (-1.2, 4, False), (-0.9, 40, False)])
def test_after_a_plateau_a_rate_is_given_up_only_if_it_lost_most(
    best: float, steepness: float, confirmed: bool
) -> None:
    """The asked rate loses 0.28 and 0.54 of the fall: the first may be chance, if how trials end is."""
    verification = after_a_plateau(steepness, 1600, parabola(best))
    assert verification.confirmed is confirmed
    assert verification.pick.status is Status.UNCERTAIN or not confirmed


@pytest.mark.parametrize(("constant", "doubted"), [(None, True), (0.6 * START, True), (START, False)])
def test_trials_that_end_alike_are_on_no_shelf_far_below_a_constant_prediction(
    constant: float | None, doubted: bool
) -> None:
    """Half and a little more of the loss is learned, at all rates that are tried."""
    sweep = explored(SWEEP, parabola(-2))
    request = VerifyRequest(steps=1600, budget=800, lr=1e-2)
    ends = parabola(-2, width=8, fall=0.55 * START)
    verification, _ = verified(request, sweep, lambda plan: dataclasses.replace(run_at(plan, ends), constant=constant))
    assert ("all rates end alike" in verification.why) is doubted
    assert (verification.pick.status is Status.CONFIDENT) is not doubted


def test_batches_too_large_to_keep_make_it_uncertain() -> None:
    sweep = in_epochs_of(explored(SWEEP, parabola(-2)), 100)
    request = VerifyRequest(steps=2000, budget=800, lr=1e-2)
    verification, _ = verified(request, sweep, lambda plan: dataclasses.replace(world(-2, 0)(plan), fresh=True))
    assert verification.pick.status is Status.UNCERTAIN
    assert "too large to keep" in verification.why


@pytest.mark.parametrize("doubt", ["", "another optimizer made steps, too"])
def test_what_a_trial_alone_shows_is_a_doubt_as_well(doubt: str) -> None:
    sweep = explored(SWEEP, parabola(-2))
    request = VerifyRequest(steps=1000, budget=800, lr=1e-2, against=(0.02,))

    def trial(plan: RunPlan) -> ShortRun:
        return dataclasses.replace(world(-2.0, 0.0)(plan), doubt=doubt if plan.steps > 100 else "")

    verification, _ = verified(request, sweep, trial)
    assert verification.pick.status is (Status.UNCERTAIN if doubt else Status.CONFIDENT)
    assert verification.pick.why.count("another optimizer") == bool(doubt)
    compared = verification.against[0]
    assert compared.measured
    assert (compared.worse is None) is bool(doubt)
    assert (f"can't be judged by its trial: {doubt}." in str(compared)) is bool(doubt)


def test_without_short_runs_in_the_sweep_both_lengths_are_made() -> None:
    sweep = sweep_of(traces_of(ALONE, falls_and_explodes, noise=0.02, stop_above=5.0), ALONE)
    verification, trials = verified(VerifyRequest(steps=1000, budget=800, lr=1e-2), sweep, world(-2.0, 0.0))
    assert len({trial.plan.steps for trial in trials}) == 2
    assert sum(trial.updates for trial in trials) <= 800
    assert verification.confirmed is True
    assert verification.lr == 1e-2


def test_a_rate_that_is_far_off_is_corrected() -> None:
    verification, _ = verified(
        VerifyRequest(steps=400, budget=800, lr=10**-2.6), explored(SWEEP, parabola(-2)), world(-2, 0)
    )
    assert verification.confirmed is False
    assert math.log10(verification.lr) == pytest.approx(-2, abs=0.05)
    assert "corrected from 0.00251 to 0.01" in verification.why


def test_a_run_many_times_as_long_is_uncertain() -> None:
    request = VerifyRequest(steps=100_000, budget=800, lr=1e-2)
    verification, _ = verified(request, explored(SWEEP, parabola(-2)), world(-2, 0))
    assert verification.pick.status is Status.UNCERTAIN
    assert "times as long as any that was tried" in verification.why


def test_runs_that_learn_nothing_tell_nothing() -> None:
    verification, _ = verified(
        VerifyRequest(steps=400, budget=800, lr=1e-2), SWEEP, lambda plan: run_at(plan, lambda _: START)
    )
    assert verification.confirmed is None
    assert verification.lr is None
    assert verification.schedule is None
    assert "--budget" in verification.hint
    with pytest.raises(UsageError, match="no schedule to save"):
        verification.save("nowhere.yaml")


def test_other_shapes_are_tried_at_the_best_rate_and_a_better_one_is_taken() -> None:
    def make(plan: RunPlan) -> ShortRun:
        gain = {"linear": 0.0, "cosine": 0.3, "constant": -0.3}[plan.schedule]
        return run_at(plan, lambda x: parabola(-2)(x) - gain)

    request = VerifyRequest(steps=400, budget=1200, lr=1e-2, schedules=("cosine", "constant"))
    verification, trials = verified(request, explored(SWEEP, parabola(-2)), make)
    assert {trial.plan.schedule for trial in trials} == {"linear", "cosine", "constant"}
    assert verification.schedule.schedule.name == "cosine"
    assert verification.confirmed is False
    assert "cosine ended lowest" in verification.why


def test_what_find_found_is_uncertain_if_trials_learned_nothing(tmp_path: Path) -> None:
    sweep = explored(SWEEP, parabola(-2))
    advice = advice_on(sweep, Request(steps=400))
    assert advice.status is Status.CONFIDENT
    request = VerifyRequest(steps=400, budget=2000, lr=1e-2)
    verification, _ = verified(request, sweep, lambda plan: run_at(plan, lambda _: START))
    found = Found(advice=advice, result=sweep, run=tmp_path, updates=0, seconds=0.0)
    checked = VerifyResult(verification=verification, sweep=sweep, run=tmp_path)
    after = with_verification(found, checked)
    assert (after.lr, after.status) == (advice.lr, Status.UNCERTAIN)
    assert "learned next to nothing" in after.advice.picks[0].why
    assert after.schedule.evidence.status is Status.UNCERTAIN  # the file says it, too
    assert after.schedule.schedule == advice.schedule.schedule


@pytest.mark.parametrize("best", [-2, -3])
def test_what_find_says_after_trials_is_what_they_showed(tmp_path: Path, best: float) -> None:
    sweep = explored(SWEEP, parabola(-2))
    request = VerifyRequest(steps=400, budget=2000, lr=1e-2)
    verification, _ = verified(request, sweep, lambda plan: run_at(plan, parabola(best)))
    found = Found(
        advice=advice_on(sweep, Request(steps=400)), result=sweep, run=tmp_path, updates=sweep.updates, seconds=0.0
    )
    after = with_verification(found, VerifyResult(verification=verification, sweep=sweep, run=tmp_path))
    assert verification.confirmed is (best == -2)
    assert (after.lr, after.advice.why, after.advice.hint) == (verification.lr, verification.why, verification.hint)
    assert "was not measured" not in str(after)
    assert str(after).count("The peak rate is ") == 1
    document = find_document(after.advice, verification, unverified="", run="run", written=None, seconds=0.0)
    assert document["why"] == verification.why


@pytest.mark.parametrize("steps", [400, 2000])
@pytest.mark.parametrize(
    ("against", "words"),
    [
        (-2.05, "is fine: it loses at most 1% more, in a trial of"),
        (-2.9, "loses 36% more of what training gains, in a trial of"),
        (0.0, "loses 100% more of what training gains, in a trial of"),
    ],
)
def test_ones_own_rate_is_compared_by_one_more_trial_within_the_budget(steps: int, against: float, words: str) -> None:
    sweep = in_epochs_of(explored(SWEEP, parabola(-2)), 100)
    request = VerifyRequest(steps=steps, budget=default_budget(steps), lr=1e-2)
    without, trials = verified(request, sweep, world(-2, 0))
    compared, more = verified(dataclasses.replace(request, against=(10**against,)), sweep, world(-2, 0))
    assert without.worse is None
    assert "Yours" not in without.why
    assert len(more) == len(trials) + 1
    assert sum(trial.updates for trial in more) <= request.budget
    own = next(trial for trial in more if trial.plan.lr == pytest.approx(10**against, rel=1e-3))
    assert own.plan.steps == max(trial.plan.steps for trial in more)
    assert compared.worse == pytest.approx(min(1.0, ((against + 2) / 1.5) ** 2), abs=0.005)
    assert f"Yours, {10**against:.3g}, {words}" in compared.why
    assert (compared.lr, compared.status) == (without.lr, without.status)


@given(
    steps=st.sampled_from([100, 400, 2000, 20_000]),
    share=st.floats(0.5, 3),
    against=st.lists(st.floats(-4, 0), min_size=1, max_size=4, unique=True),
    drift=st.sampled_from([0.0, 0.0, -0.2, -0.4]),
)
@settings(deadline=None, max_examples=20)
def test_several_rates_are_compared_within_the_budget_and_those_it_can_t_hold_are_named(
    steps: int, share: float, against: list[float], drift: float
) -> None:
    sweep, make = explored(SWEEP, parabola(-2)), world(-2, drift)
    budget = max(40, int(share * default_budget(steps, more=len(against))))
    request = VerifyRequest(steps=steps, budget=budget, lr=1e-2, against=tuple(10**x for x in against))
    verification, trials = verified(request, sweep, make)
    assert sum(trial.updates for trial in trials) <= budget
    if verification.lr is None:
        return
    longest = max(trial.plan.steps for trial in trials)
    made = {trial.plan.lr: trial.loss for trial in trials if trial.plan.steps == longest}
    assert json_text(verify_document(verification, run="run", written=None))
    for x, compared in zip(against, verification.against, strict=True):
        rate = float(f"{10**x:.4g}")
        if "no trial at the rate that is decided for" in compared.why:
            assert (compared.worse, verification.status) == (None, Status.UNCERTAIN)
            assert all(abs(math.log10(verification.lr / tried)) > 0.1 for tried in made)
            continue
        assert compared.measured is (rate in made)
        assert ("was not tried: the budget has no room" in str(compared)) is (rate not in made)
        assert str(compared) in verification.why
        if compared.worse is not None:
            lost = (made[rate] - min(made.values())) / (START - min(made.values()))
            assert compared.worse <= lost + 1e-9
    if share >= 1 and not drift:
        assert all(compared.measured for compared in verification.against)


@pytest.mark.parametrize("against", [0.005, 0.02])
@pytest.mark.parametrize("width", [1.0, 1.5])
def test_where_no_trial_was_made_at_the_decided_rate_nothing_is_compared_and_no_cost_told(
    against: float, width: float
) -> None:
    """The best rate falls with the length, by more than the trials reach down; the share of one's own is kept apart."""
    sweep = in_epochs_of(explored(SWEEP, parabola(-2)), 100)
    request = VerifyRequest(steps=2000, budget=800, lr=1e-2, against=(against,))
    found, trials = verified(
        request, sweep, lambda plan: run_at(plan, parabola(-2.2 - 0.4 * math.log2(plan.steps / 50), width=width))
    )
    longest = max(trial.plan.steps for trial in trials)
    assert found.lr < min(trial.plan.lr for trial in trials if trial.plan.steps == longest)
    assert (found.status, found.worse) == (Status.UNCERTAIN, None)
    assert "can't be judged by its trial: the budget paid for no trial at the rate that is decided for" in found.why
    assert "What it may cost can't be told" in found.why
    assert "NaN" not in json_text(verify_document(found, run="run", written=None))


def test_a_compared_trial_that_data_ended_early_is_no_loss() -> None:
    def make(plan: RunPlan) -> ShortRun:
        run = world(-2, 0)(plan)
        if plan.lr != 0.005:
            return run
        why = "the script ended after 60 updates"
        return dataclasses.replace(run, loss=None, stop=Stop.OUT_OF_DATA, updates=60, why=why)

    sweep = in_epochs_of(explored(SWEEP, parabola(-2)), 100)
    found, _ = verified(VerifyRequest(steps=2000, budget=800, lr=1e-2, against=(0.005,)), sweep, make)
    assert found.worse is None
    assert "Yours, 0.005, can't be judged by its trial: the script ended after 60 updates" in found.why


@pytest.mark.parametrize("onset", ["", "after a plateau it may be chance"])
def test_short_trials_of_which_none_learned_and_one_diverged_say_nothing_of_a_drift(onset: str) -> None:
    def make(plan: RunPlan) -> ShortRun:
        stuck = plan.steps < 100
        return run_at(plan, (lambda x: math.inf if x > -1.6 else START + 0.001) if stuck else parabola(-2, width=1.0))

    sweep = in_epochs_of(explored(SWEEP, parabola(-2)), 100)
    found, trials = verified(VerifyRequest(steps=2000, budget=800, lr=1e-2, chance_onset=onset), sweep, make)
    assert {trial.plan.steps for trial in trials} == {47, 141}
    assert found.confirmed
    assert "shorter ones did not tell how that moves with the length" in found.why


def test_the_default_budget_of_a_run_tried_at_its_length_holds_ones_own_rate() -> None:
    request = VerifyRequest(steps=400, budget=default_budget(400, more=1), lr=1e-2, against=(0.5,))
    _, trials = verified(request, explored(SWEEP, parabola(-2)), world(-2, 0))
    assert (len(trials), {trial.plan.steps for trial in trials}) == (4, {400})
    assert trials[-1].plan.lr == 0.5


def test_ones_own_rate_that_is_the_recommended_one_costs_nothing() -> None:
    request = VerifyRequest(steps=400, budget=2000, lr=1e-2, against=(1e-2,))
    verification, trials = verified(request, explored(SWEEP, parabola(-2)), world(-2, 0))
    assert len({trial.plan.lr for trial in trials}) == len(trials)
    assert verification.worse == 0


@pytest.mark.parametrize("against", [0.0, -1.0, math.nan, math.inf])
def test_a_rate_to_compare_with_is_above_0(against: float) -> None:
    with pytest.raises(UsageError, match="finite number above 0"):
        VerifyRequest(steps=400, budget=2000, lr=1e-2, against=(1e-2, against))


def test_what_was_cut_short_is_made_again_and_the_rest_is_not() -> None:
    sweep, make = explored(SWEEP, parabola(-2)), world(-2, 0)
    request = VerifyRequest(steps=400, budget=800, lr=1e-2)
    first, second, *_ = next_trials(request, sweep, ())
    cut = dataclasses.replace(make(second), stop=Stop.INTERRUPTED, loss=None, updates=40)
    again = next_trials(request, sweep, (make(first), cut))
    assert second in again
    assert first not in again


@pytest.mark.parametrize(
    ("text", "steps", "budget"),
    [
        (None, 5, 50),
        (None, 100, 500),
        (None, 400, 2000),
        (None, 401, 800),
        (None, 3200, 800),
        (None, 6400, 800),
        (None, 100_000, 12_500),
        ("900", 10, 900),
        ("25%", 4000, 1000),
        ("0.5", 4000, 2000),
        (".1", 4000, 400),
        ("100%", 4000, 4000),
        (900, 10, 900),
        (1000.0, 10, 1000),
        (0.25, 4000, 1000),
        ("1e3", 4000, 1000),
        ("10k", 4000, 10_000),
        ("12.5 %", 4000, 500),
        ("90s", 4000, 360),
        ("5min", 4000, 1200),
        ("5 min", 4000, 1200),
        ("0.5h", 4000, 7200),
        ("1h 1min1s", 4000, 14_644),
    ],
)
def test_budgets(text: float | str | None, steps: int, budget: int) -> None:
    assert budget_in_updates(read_budget(text), steps, pace=0.25) == budget


BAD = ["much", "-5", "1.5", "0", "12", "nan", "0%", "5m", "min", "s", "5s2h", "-5min", "9s", -5, 1.5, 0, 12, math.nan]


@pytest.mark.parametrize("text", [*BAD, math.inf, "9" * 400 + "h", True])
def test_bad_budgets(text: float | str) -> None:
    with pytest.raises(UsageError, match="budget"):
        budget_in_updates(read_budget(text), 400, pace=0.25)


def test_a_time_needs_to_know_how_long_an_update_takes() -> None:
    with pytest.raises(UsageError, match="how many updates 5min pay for isn't known"):
        budget_in_updates(read_budget("5min"), 400)


def continued(request: VerifyRequest, sweep: SweepResult, make, kept: tuple[ShortRun, ...]) -> Verification:
    plan = replayed(request, sweep, kept)
    while plans := plan.next_runs():
        plan = dataclasses.replace(plan, runs=(*plan.runs, *(make(each) for each in plans)))
    return conclude(plan, gather_evidence(sweep))


@pytest.mark.parametrize(("steps", "drift"), [(200, 0.0), (1600, 0.05)])
@pytest.mark.parametrize("far", [-4.5, -3.0, -0.8])
def test_trials_around_another_rate_move_no_answer(steps: int, drift: float, far: float) -> None:
    make, sweep = world(-2, drift), explored(SWEEP, parabola(-2))
    elsewhere = VerifyRequest(steps=steps, budget=default_budget(steps), lr=10**far)
    _, kept = verified(elsewhere, sweep, make)
    asked = dataclasses.replace(elsewhere, lr=10**-1.9)
    alone, trials = verified(asked, sweep, make)
    after = continued(asked, sweep, make, kept)
    assert after.lr == alone.lr
    assert after.status is alone.status or after.status is Status.CONFIDENT
    spent = {trial.plan: trial.updates for trial in (*kept, *after.trials)}
    assert after.updates == sweep.updates + sum(spent.values()), "all that was spent on the folder"
    again = continued(asked, sweep, lambda plan: pytest.fail(f"{plan} was made already"), (*kept, *after.trials))
    assert (again.lr, again.status) == (after.lr, after.status)
    assert continued(asked, sweep, make, trials).trials == trials
