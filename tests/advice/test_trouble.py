"""What went wrong in a sweep is told before its curve is read, and no pick is confident after it."""

from __future__ import annotations

import dataclasses
import math

import pytest

from helpers.advice import advice_on
from helpers.curves import falls_and_explodes, sweep_of, traces_of
from helpers.runs import START, explored, parabola, run_at, runs_at
from lrfinder.advice import Request
from lrfinder.options import FINITE_WEIGHTS, OTHER_KIND, TOO_NARROW
from lrfinder.records import Metric, RunPlan, ShortRun, Status, Stop, SweepResult, SweepSettings

AUTO = SweepSettings()
GOOD = sweep_of(traces_of(AUTO, falls_and_explodes, noise=0.02, stop_above=5.0), AUTO)
FLAT = sweep_of(traces_of(AUTO, lambda _: START, noise=0.02), AUTO)
INFINITE = f"the loss is inf after 8 updates: {FINITE_WEIGHTS}"


def ended(lr: float, stop: Stop, why: str) -> ShortRun:
    run = run_at(RunPlan(lr=lr, steps=AUTO.run_steps), lambda _: math.inf)
    return dataclasses.replace(run, stop=stop, why=why, updates=8)


def with_runs(sweep: SweepResult, *runs: ShortRun) -> SweepResult:
    return dataclasses.replace(sweep, runs=runs)


def test_a_good_sweep_alone_is_confident() -> None:
    assert advice_on(GOOD, Request(steps=400)).status is Status.CONFIDENT
    assert advice_on(explored(GOOD, parabola(-1.4)), Request(steps=400)).status is Status.CONFIDENT


@pytest.mark.parametrize("stop", [Stop.FAILED, Stop.INTERRUPTED, Stop.TERMINATED, Stop.OUT_OF_TIME, Stop.OUT_OF_DATA])
def test_after_short_runs_that_were_cut_short_nothing_is_confident(stop: Stop) -> None:
    learned = explored(GOOD, parabola(-1.4)).runs
    for runs, said in (((), "no short run bears the sweep out"), (learned, "a short run ended early")):
        advice = advice_on(with_runs(GOOD, *runs, ended(0.04, stop, "ValueError: file 3 is cut")), Request(steps=400))
        assert advice.status is Status.UNCERTAIN
        assert said in advice.why
        assert "ValueError: file 3 is cut" in advice.why


def test_a_held_out_loss_that_is_no_number_keeps_the_sweep_from_being_confident() -> None:
    run = dataclasses.replace(ended(0.04, Stop.NON_FINITE, "the held-out loss is nan"), initial_loss=None)
    advice = advice_on(with_runs(GOOD, run), Request(steps=400))
    assert advice.status is Status.UNCERTAIN
    assert "the held-out loss isn't finite before any update" in advice.why


def test_of_a_refusal_the_known_cause_comes_first() -> None:
    broken = [ended(lr, Stop.NON_FINITE, INFINITE) for lr in (0.01, 0.025, 0.004)]
    advice = advice_on(with_runs(FLAT, *broken), Request(steps=400))
    assert advice.status is Status.REFUSED
    assert advice.why.startswith(f"3 of 3 short runs ended so: {INFINITE}")
    assert "its data" in advice.hint
    assert "--run-steps" not in advice.hint
    cut = dataclasses.replace(FLAT.traces[0], stop=Stop.OUT_OF_DATA, why="train_loader ran out; 12 of 100 updates made")
    cut = dataclasses.replace(cut, lrs=cut.lrs[:12], losses=cut.losses[:12], updates=12)
    advice = advice_on(dataclasses.replace(FLAT, traces=(cut,)), Request(steps=400))
    assert advice.why.startswith("train_loader ran out; 12 of 100 updates made; before that, the loss never fell")
    assert "more data" in advice.hint
    failed = dataclasses.replace(cut, stop=Stop.FAILED, why="ValueError: file 300.png is truncated")
    advice = advice_on(dataclasses.replace(FLAT, traces=(failed,)), Request(steps=400))
    assert advice.why.startswith("it failed: ValueError: file 300.png is truncated")
    assert advice.hint.startswith("mend that")


def scripted(sweep: SweepResult) -> SweepResult:
    facts = dataclasses.replace(sweep.setup.optimizer, chosen_by="script")
    return dataclasses.replace(sweep, setup=dataclasses.replace(sweep.setup, optimizer=facts))


def test_repeats_of_a_script_have_other_seeds_and_its_short_runs_the_same() -> None:
    repeats = [dataclasses.replace(trace, initial_loss=START * (1 + 99 * trace.repeat)) for trace in GOOD.traces]
    sweep = dataclasses.replace(GOOD, traces=tuple(repeats))
    assert "something goes on from one to the next" in advice_on(sweep, Request(steps=400)).why
    assert advice_on(scripted(sweep), Request(steps=400)).status is Status.CONFIDENT
    runs = explored(GOOD, parabola(-1.4)).runs
    others = tuple(dataclasses.replace(run, first_loss=99 * START) for run in runs)
    advice = advice_on(scripted(with_runs(GOOD, *others)), Request(steps=400))
    assert advice.status is Status.UNCERTAIN
    assert "starts of the script with the same seeds differ" in advice.why


def test_a_script_that_ends_early_is_told_to_train_longer() -> None:
    cut = dataclasses.replace(FLAT.traces[0], stop=Stop.OUT_OF_DATA, why="the script ended after 12 updates")
    cut = dataclasses.replace(cut, lrs=cut.lrs[:12], losses=cut.losses[:12], updates=12)
    advice = advice_on(scripted(dataclasses.replace(FLAT, traces=(cut,))), Request(steps=400))
    assert advice.hint.startswith("have the script train longer by its own arguments")
    assert "train_loader" not in advice.hint


def test_rates_that_are_too_high_are_no_fault_of_the_data() -> None:
    tried = runs_at((-5.0, -4.0, -3.0), lambda _: START, steps=AUTO.run_steps)
    too_high = ended(10.0, Stop.NON_FINITE, INFINITE)
    advice = advice_on(with_runs(FLAT, *tried, too_high), Request(steps=400))
    assert advice.why.startswith("the loss never fell")
    learned = explored(GOOD, parabola(-1.4))
    assert advice_on(with_runs(learned, *learned.runs, too_high), Request(steps=400)).status is Status.CONFIDENT
    below = ended(1e-3, Stop.NON_FINITE, INFINITE)
    advice = advice_on(with_runs(learned, *learned.runs, below), Request(steps=400))
    assert advice.status is Status.UNCERTAIN
    assert f"not by its rate: {INFINITE}" in advice.why


def test_first_losses_that_are_factors_apart_are_named() -> None:
    learned = explored(GOOD, parabola(-1.4))
    first = GOOD.traces[0].initial_loss

    def advised(repeat_2: float, short_run: float | None) -> tuple[Status, str]:
        traces = (GOOD.traces[0], dataclasses.replace(GOOD.traces[1], initial_loss=repeat_2))
        runs = tuple(dataclasses.replace(run, first_loss=short_run) for run in learned.runs)
        advice = advice_on(dataclasses.replace(learned, traces=traces, runs=runs), Request(steps=400))
        return advice.status, advice.why

    for alike in (None, first, 2 * first, first - 0.1):
        assert advised(first * 5, alike)[0] is Status.CONFIDENT  # other weights, another loss
    status, why = advised(6476.9, None)
    assert status is Status.UNCERTAIN
    assert "in repeat 1 and 6477 in repeat 2, before any update" in why
    probed = dataclasses.replace(learned, settings=dataclasses.replace(AUTO, metric=Metric.PROBE))
    runs = tuple(dataclasses.replace(run, first_loss=100.0) for run in learned.runs)  # in another mode than the repeats
    assert advice_on(dataclasses.replace(probed, runs=runs), Request(steps=400)).status is Status.CONFIDENT
    for apart in (1.2e29, first * 4, first / 4, -3.0):
        status, why = advised(first, apart)
        assert status is Status.UNCERTAIN
        assert "in the short run at rate" in why


def test_measurements_that_are_apart_are_the_first_thing_that_a_refusal_tells() -> None:
    apart = [dataclasses.replace(FLAT.traces[1], initial_loss=6476.9), FLAT.traces[0]]
    advice = advice_on(dataclasses.replace(FLAT, traces=tuple(apart)), Request(steps=400))
    assert advice.why.startswith("the first loss is 6477 in repeat 2 and")
    assert advice.hint == "make it in model(), or keep it in the module"
    learned = explored(GOOD, parabola(-1.4))
    said = f"{OTHER_KIND}: before any update it is 8e+06 in training mode, too, and in training 1.2"
    runs = tuple(dataclasses.replace(run, note=f"a note; {said}") for run in learned.runs)
    advice = advice_on(with_runs(learned, *runs), Request(steps=400))
    assert advice.status is Status.UNCERTAIN
    assert said in advice.why
    nothing = tuple(dataclasses.replace(run, constant=0.01) for run in runs)
    advice = advice_on(with_runs(learned, *nothing), Request(steps=400))
    assert advice.status is Status.REFUSED
    assert advice.why.startswith(said)
    assert "units" in advice.hint


def test_running_statistics_that_follow_too_slowly_are_named() -> None:
    runs = runs_at((-6.0, -5.0, -4.0, -2.0, -1.0), lambda x: 5000.0 if x > -3 else 600.0, steps=AUTO.run_steps)
    lag = [dataclasses.replace(run, initial_loss=600.0, first_loss=START) for run in runs]
    advice = advice_on(with_runs(FLAT, *lag), Request(steps=400))
    assert advice.why.startswith("the held-out loss begins at 600 in evaluation mode, where training begins at 2.3")
    assert "momentum" in advice.hint
    followed = [dataclasses.replace(run, loss=START) for run in lag]
    assert "running statistics" not in advice_on(with_runs(FLAT, *followed), Request(steps=400)).why


def test_a_repeat_that_the_data_ended_is_named_if_higher_rates_did_well() -> None:
    learned = explored(FLAT, parabola(-1.4))
    for lowest, named in ((1e-5, True), (1.0, False)):
        lrs = (lowest, 2 * lowest)
        ended_by_data = dataclasses.replace(
            FLAT.traces[0], stop=Stop.NON_FINITE, why=INFINITE, lrs=lrs, losses=(START, START), updates=3
        )
        advice = advice_on(dataclasses.replace(learned, traces=(ended_by_data, FLAT.traces[1])), Request(steps=400))
        assert advice.status is Status.UNCERTAIN
        assert (f"repeat 1 ended so, and not by its rate: {INFINITE}" in advice.why) is named


def test_a_small_rise_at_any_rate_is_no_chance() -> None:
    rises = runs_at((-6.0, -5.0), lambda x: START + 0.5 + x / 1000, steps=AUTO.run_steps)
    falls = runs_at((-3.0, -2.0, -1.0, 0.0), lambda x: START - 1.0 + 0.3 * (x + 1.5) ** 2, steps=AUTO.run_steps)
    advice = advice_on(with_runs(FLAT, *rises, *falls), Request(steps=400))
    assert advice.status is Status.UNCERTAIN
    assert 0.01 < advice.lr < 0.1
    by_chance = (rises[0], dataclasses.replace(rises[1], loss=START - 0.5))
    assert "this may be chance" in advice_on(with_runs(FLAT, *by_chance, *falls), Request(steps=400)).why


def test_losses_that_are_missing_in_the_file_are_told() -> None:
    def cut(result: SweepResult) -> SweepResult:
        first = result.traces[0]
        first = dataclasses.replace(first, lrs=first.lrs[:7], losses=first.losses[:7])
        return dataclasses.replace(result, traces=(first, *result.traces[1:]))

    said = f"only 7 losses are there of the {GOOD.traces[0].updates} updates of repeat 1"
    advice = advice_on(cut(explored(GOOD, parabola(-1.4))), Request(steps=400))
    assert advice.status is Status.UNCERTAIN
    assert said in advice.why
    assert advice_on(cut(FLAT), Request(steps=400)).why.startswith(f"only 7 losses are there of the {AUTO.steps}")


@pytest.mark.parametrize(("seen", "hint"), [(f"float16, {TOO_NARROW}", ".half()"), ("a weight", "log(0)")])
def test_the_hint_on_weights_that_broke_at_once_is_about_them(seen: str, hint: str) -> None:
    traces = tuple(
        dataclasses.replace(trace, stop=Stop.NON_FINITE, why=seen, lrs=trace.lrs[:1], losses=(math.nan,), updates=1)
        for trace in FLAT.traces
    )
    advice = advice_on(dataclasses.replace(FLAT, traces=traces), Request(steps=400))
    assert seen in advice.why
    assert hint in advice.hint
    assert "--run-steps" not in advice.hint


def test_a_line_search_leaves_the_rate_open() -> None:
    learned = explored(GOOD, parabola(-1.4))
    settings = {"line_search_fn": "strong_wolfe"}
    lbfgs = dataclasses.replace(learned.setup.optimizer, name="LBFGS", settings=settings)
    result = dataclasses.replace(learned, setup=dataclasses.replace(learned.setup, optimizer=lbfgs))
    advice = advice_on(result, Request(steps=400))
    assert advice.status is Status.UNCERTAIN
    assert "its line search chooses each step itself" in advice.why


@pytest.mark.parametrize("value", [0.0, 1.5, -2.0])
def test_a_loss_that_no_update_changes_is_told_so(value: float) -> None:
    flat = sweep_of(traces_of(SweepSettings(), lambda _: value), SweepSettings())
    flat = dataclasses.replace(
        flat, traces=tuple(dataclasses.replace(trace, initial_loss=value) for trace in flat.traces)
    )
    advice = advice_on(flat, Request(steps=400))
    assert advice.status is Status.REFUSED
    assert advice.why.startswith(f"the loss is exactly {value:g} before and after every update")
    assert "--run-steps" not in advice.hint


def test_runs_that_end_no_lower_than_a_constant_prediction_have_learned_nothing() -> None:
    learned = explored(GOOD, parabola(-1.4))
    lowest = min(run.loss for run in learned.runs if run.loss is not None)

    def beside(constant: float | None) -> SweepResult:
        return with_runs(learned, *(dataclasses.replace(run, constant=constant) for run in learned.runs))

    for constant in (None, lowest + 1e-6):
        assert advice_on(beside(constant), Request(steps=400)).lr == advice_on(learned, Request(steps=400)).lr
    hardly = "what is learned later may want another rate"
    for constant, begun in ((None, True), (lowest / 0.89, True), (lowest / 0.91, False)):
        told = advice_on(beside(constant), Request(steps=400))
        assert told.status is (Status.CONFIDENT if begun else Status.UNCERTAIN)
        assert (hardly in told.picks[0].why) is not begun
    assert hardly not in advice_on(beside(lowest / 0.91), Request(steps=AUTO.run_steps)).picks[0].why
    refused = advice_on(beside(lowest - 1e-6), Request(steps=400))
    assert refused.status is Status.REFUSED
    assert "nothing was learned of the inputs yet: the best run ended at" in refused.why
    assert f"--run-steps {4 * AUTO.run_steps}" in refused.hint
    same = advice_on(beside(0.0), Request(steps=400))
    assert same.status is Status.REFUSED
    assert "all held-out targets are the same" in same.why
    interrupted = dataclasses.replace(learned.runs[0], stop=Stop.INTERRUPTED, loss=None, constant=0.0)
    told_first = advice_on(with_runs(FLAT, interrupted), Request(steps=400))
    assert "interrupted" in told_first.why
