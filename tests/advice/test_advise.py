"""Advice: what is refused and why, what is doubted, and the schedule that follows from a pick."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import lrfinder.advice.checks.check
from helpers.advice import advice_on
from helpers.curves import falls_and_explodes, sweep_of, trace_of, traces_of
from helpers.runs import explored, parabola, runs_at
from lrfinder.advice import Request
from lrfinder.advice.checks.check import check_rate
from lrfinder.advice.checks.lint import lint
from lrfinder.advice.sweep.exploration import start_of
from lrfinder.errors import UsageError
from lrfinder.optimizers import TRAITS
from lrfinder.records import Band, Mode, Status, Stop, SweepResult, SweepSettings, Trace
from lrfinder.report.documents import recommend_document
from lrfinder.rules import RULE_NAMES
from lrfinder.rules.trials import TRIALS_RULE
from lrfinder.store import load_run
from lrfinder.task.optimizers.build import optimizer_facts
from lrfinder.task.problem import SweptOptimizer

SWEEP = SweepSettings()
RECORDED = Path(__file__).parents[1] / "data" / "run-v1-lstm"


def good(**optimizer: object) -> SweepResult:
    return sweep_of(traces_of(SWEEP, noise=0.03, stop_above=5.0), SWEEP, **optimizer)


def test_a_good_sweep_gives_a_confident_pick_and_a_config() -> None:
    advice = advice_on(good(), Request(steps=1000))
    assert advice.status is Status.CONFIDENT
    assert advice.lr is not None
    assert advice.schedule is not None
    assert advice.band is not None
    assert advice.band.low < advice.lr < advice.band.high
    assert advice.picks[0].rule == "steepest"
    assert {pick.rule for pick in advice.picks} == set(RULE_NAMES) - {TRIALS_RULE}
    assert advice.schedule.optimizer.lr == float(f"{advice.picks[0].lr:.3g}")
    assert len(advice.schedule.lrs()) == 1000
    assert max(advice.schedule.lrs()) == advice.schedule.optimizer.lr
    for fact in ("fell from 2.3", "90 % interval", "100 updates of linear warm-up", "straight line to zero"):
        assert fact in advice.why


def restarted(best: float, **optimizer: object) -> SweepResult:
    """Return what a sweep of short runs alone measures where 10**best is the best rate."""
    return explored(sweep_of((), dataclasses.replace(SWEEP, mode=Mode.RESTART), **optimizer), parabola(best))


@pytest.mark.parametrize("rule", [None, TRIALS_RULE])
@pytest.mark.parametrize(("steps", "whole"), [(None, 400), (1600, 400), (150, 150)])
def test_adagrads_short_runs_alone_are_moved_to_the_length_they_stand_for(
    rule: str | None, steps: int | None, whole: int
) -> None:
    request = Request(steps=steps, rule=rule)
    still, moved = (advice_on(restarted(-2, name=name, settings={}), request) for name in ("SGD", "Adagrad"))
    assert moved.lr / still.lr == pytest.approx(math.sqrt(whole / 75), rel=0.01)  # a config's rate has three digits
    assert moved.picks[0].lr / still.picks[0].lr == pytest.approx(math.sqrt(whole / 75))
    assert f"up by a factor of {math.sqrt(whole / 75):.2f} from 75 to {whole} updates, so " in moved.why
    assert "root of the number" not in still.why
    assert moved.status is Status.UNCERTAIN
    assert (moved.band.low, moved.band.high) == pytest.approx((still.band.low, still.band.high * math.sqrt(400 / 75)))


def test_a_rate_that_was_moved_passes_its_own_check() -> None:
    """The runs' own valley is so narrow that the moved rate is above what half of it bears."""
    result = restarted(-2, name="Adagrad", settings={})
    xs = [-5, -4.6, -4.2, *(-2.3 + 0.05 * index for index in range(13))]
    narrow = dataclasses.replace(result, runs=runs_at(xs, parabola(-2, width=0.4), steps=75))
    config = advice_on(narrow, Request(steps=400)).schedule
    assert math.log10(config.optimizer.lr) > -2 + 0.4 * math.sqrt(0.5)
    assert check_rate(narrow, config).sane


@pytest.mark.parametrize(
    ("lr", "sane"),
    [(0.005, False), (0.0095, True), (0.1, True), (0.39, True), (4.0, None), (71.0, None), (80.0, False)],
)
def test_a_rate_where_an_end_of_the_band_may_be_is_neither(
    monkeypatch: pytest.MonkeyPatch, lr: float, sane: bool | None
) -> None:
    """The lower end is known within a factor of two, the upper one within a factor of 180."""
    advice = advice_on(good(), Request(steps=1000))
    band = Band(low=0.01, high=0.4, low_interval=(0.009, 0.02), high_interval=(0.3, 72.0))
    monkeypatch.setattr(lrfinder.advice.checks.check, "advise", lambda *_: dataclasses.replace(advice, band=band))
    optimizer = advice.schedule.optimizer.model_copy(update={"lr": lr})
    checked = check_rate(good(), advice.schedule.model_copy(update={"optimizer": optimizer}))
    assert checked.sane is sane, checked.why
    assert ("0.4 to 72" in checked.why) is (sane is None)


@pytest.mark.parametrize("steps", [None, 75, 140, 160, 400])
@pytest.mark.parametrize(
    ("name", "settings"), [("SGD", {}), ("Adagrad", {}), ("Adagrad", {"initial_accumulator_value": 0.1})]
)
def test_a_drift_that_nothing_measured_makes_a_pick_beside_a_sweep_uncertain(
    name: str, settings: dict[str, object], steps: int | None
) -> None:
    swept = good(name=name, settings=settings)
    guide = start_of(swept)
    xs = [guide + x for x in (-0.4, -0.2, 0, 0.2, 0.4)]
    advice = advice_on(dataclasses.replace(swept, runs=runs_at(xs, parabola(guide), steps=75)), Request(steps=steps))
    whole = steps or 400
    drifts = name == "Adagrad" and not settings and math.sqrt(whole / 75) > 10**0.15
    assert advice.picks[0].rule == TRIALS_RULE
    assert math.log10(advice.picks[0].lr) == pytest.approx(guide, abs=0.02)
    assert advice.status is (Status.UNCERTAIN if drifts else Status.CONFIDENT)
    told = (
        "Adagrad's own step falls as the root of the number of updates, which lets the best rate go up by a factor of "
        f"{math.sqrt(whole / 75):.2f} from 75 to {whole} updates, and nothing that long was tried: let `lrfinder "
    )
    assert (told in advice.why) is drifts


def test_a_drift_that_nothing_measured_makes_the_sweeps_own_pick_uncertain() -> None:
    for steps, status in ((400, Status.UNCERTAIN), (190, Status.CONFIDENT)):  # by hand: 100 x 10^0.3 = 199.5
        advice = advice_on(good(name="Adagrad", settings={}), Request(steps=steps))
        assert advice.picks[0].rule == "steepest"
        assert advice.status is status
        assert ("up by a factor of 2.00 from 100 to 400 updates" in advice.why) is (status is Status.UNCERTAIN)


def test_what_was_moved_already_is_not_doubted_again() -> None:
    swept = restarted(-2, name="Adagrad", settings={})
    assert "nothing that long" not in advice_on(swept, Request(steps=400)).why
    assert "nothing that long" not in advice_on(swept, Request()).why
    assert "up by a factor of 5.00 from 400 to 10000 updates, and nothing that long was tried" in (
        advice_on(swept, Request(steps=10_000)).why
    )


@pytest.mark.parametrize("best", [-4.5, -2.0, 1.0])
def test_the_band_holds_what_the_short_runs_learned_at_as_well(best: float) -> None:
    alone = advice_on(good(), Request()).band
    reach = math.sqrt(0.5) * 1.0  # a parabola has half of its fall left so far from its lowest point
    tried = sorted((best + 0.1 * step for step in range(-12, 13)), key=lambda x: abs(x - best))
    runs = runs_at(tried, parabola(best, width=1.0), steps=SWEEP.run_steps)
    band = advice_on(dataclasses.replace(good(), runs=runs), Request()).band
    assert math.log10(band.low) == pytest.approx(min(math.log10(alone.low), best - reach), abs=0.02)
    assert math.log10(band.high) == pytest.approx(max(math.log10(alone.high), best + reach), abs=0.02)
    assert band.low_interval[0] == pytest.approx(min(band.low, alone.low_interval[0]))
    assert band.high_interval[1] == pytest.approx(max(band.high, alone.high_interval[1]))
    for end, ends in ((band.low, band.low_interval), (band.high, band.high_interval)):
        assert ends[0] <= end <= ends[1]


def explode_at_once(settings: SweepSettings) -> tuple[Trace, ...]:
    shape: Callable[[float], float] = lambda x: 2.0 + 10 ** (4 * (x - math.log10(settings.min_lr) - 0.4))  # noqa: E731
    return traces_of(settings, shape, noise=0.01, stop_above=5.0)


def nan_from(start: int | None) -> tuple[Trace, ...]:
    if start is None:
        return tuple(
            Trace(repeat=r, seed=r, initial_loss=None, lrs=(), losses=(), stop=Stop.NON_FINITE, updates=0)
            for r in range(3)
        )
    return tuple(
        dataclasses.replace(t, lrs=t.lrs[: start + 1], losses=(*t.losses[:start], math.nan), stop=Stop.NON_FINITE)
        for t in traces_of(SWEEP)
    )


def cut(stop: Stop, points: int, repeats: int = 1) -> tuple[Trace, ...]:
    return tuple(
        dataclasses.replace(t, lrs=t.lrs[:points], losses=t.losses[:points], stop=stop, updates=points)
        for t in traces_of(SWEEP, noise=0.03)[:repeats]
    )


REFUSED = {
    "nan before any update": (nan_from(None), "not finite before any update", "NaN in the data"),
    "nan at once": (nan_from(2), "NaN or infinite at once", "--min-lr 1e-09"),
    "diverged at once": (explode_at_once(SWEEP), "diverged at once", "--min-lr 1e-09"),
    "flat": (traces_of(SWEEP, lambda x: 2.3, noise=0.05), "never fell", "check that the model can learn"),
    "exactly flat": (traces_of(SWEEP, lambda x: 2.3), "exactly 2.3 before and after every update", "no trained weight"),
    "only rises": (traces_of(SWEEP, lambda x: 2.3 + 10**x, stop_above=9.0), "never fell", "check"),
    "interrupted early": (cut(Stop.INTERRUPTED, 5), "too few points: 5 finite losses", "let it finish"),
    "out of data": (cut(Stop.OUT_OF_DATA, 7), "the data ran out", "can be started again"),
    "still falling, interrupted": (cut(Stop.INTERRUPTED, 42, 3), "it was interrupted", "let it finish"),
    "still falling": (
        traces_of(SWEEP, lambda x: 3 - 0.2 * 10 ** (0.5 * (x - 2)), noise=0.001),
        "still falls fastest at the highest rate tried",
        "--max-lr 10000",
    ),
    "already falling": (
        traces_of(SWEEP, lambda x: 0.5 + 1.8 * 10 ** (-3 * (x + 6)) + (10**x) ** 2, noise=0.001, stop_above=9.0),
        "near the lowest rate tried",
        "--min-lr 1e-09",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_refuses_with_a_reason_and_a_remedy(case: str) -> None:
    traces, why, remedy = REFUSED[case]
    advice = advice_on(sweep_of(traces, SWEEP), Request(steps=100))
    assert advice.status is Status.REFUSED, advice.why
    assert advice.lr is None
    assert advice.schedule is None
    assert why in advice.why
    assert remedy in advice.hint
    assert [pick.status for pick in advice.picks] == [Status.REFUSED]
    json.dumps(recommend_document(advice), allow_nan=False)


def test_too_noisy_is_told_from_never_fell() -> None:
    few = SweepSettings(steps=12, repeats=1)
    rng = np.random.default_rng(1)
    losses = tuple(float(v) for v in 2.0 + rng.normal(0, 0.5, 12) - np.linspace(0, 0.5, 12))
    trace = dataclasses.replace(trace_of(few, falls_and_explodes), losses=losses, initial_loss=2.3)
    advice = advice_on(sweep_of([trace], few), Request())
    assert advice.status is Status.REFUSED
    assert "noisy" in advice.why or "never fell" in advice.why


def test_a_fall_counts_though_the_high_rates_are_wild() -> None:
    """A recorded sweep of an LSTM on digits (Adam): the fall is plain where it begins, whatever spikes come above it.

    Full training runs of 400 updates at a grid of rates put the near-optimal ones (regret <= 0.02) at 0.01 to 0.1.
    """
    advice = advice_on(load_run(RECORDED), Request())
    assert advice.lr is not None, advice.why
    assert 0.01 <= advice.lr <= 0.1


def test_flat_noise_is_hardly_ever_taken_for_a_fall() -> None:
    refused = sum(
        advice_on(sweep_of(traces_of(SWEEP, lambda x: 2.3, noise=0.1, seed=seed), SWEEP), Request()).lr is None
        for seed in range(40)
    )
    assert refused >= 38


DOUBTED = {
    "one repeat": (traces_of(dataclasses.replace(SWEEP, repeats=1), noise=0.01, stop_above=5.0), "single repeat"),
    "never rose": (
        traces_of(SWEEP, lambda x: 2.3 - 2 / (1 + math.exp(-4 * (x + 2.5))), noise=0.01),
        "the upper end is open",
    ),
    "time limit": (cut(Stop.OUT_OF_TIME, 75, 3), "the time limit"),
}


@pytest.mark.parametrize("case", DOUBTED)
def test_what_makes_a_pick_uncertain_is_said(case: str) -> None:
    traces, why = DOUBTED[case]
    advice = advice_on(sweep_of(traces, SWEEP), Request(steps=100))
    assert advice.status is Status.UNCERTAIN
    assert advice.lr is not None
    assert why in advice.picks[0].why
    assert why in advice.why


@pytest.mark.parametrize(
    ("name", "settings", "steps", "expected"),
    [
        ("AdamW", {"betas": (0.9, 0.999)}, 100_000, 2000),  # 2 / (1 - 0.999)
        ("AdamW", {"betas": (0.9, 0.95)}, 1000, 40),  # 2 / (1 - 0.95)
        ("AdamW", {"betas": (0.9, 0.999)}, 1000, 100),  # cut to 10 %
        ("RMSprop", {"alpha": 0.99}, 10_000, 200),
        ("Adadelta", {"rho": 0.9}, 10_000, 20),
        ("SGD", {"momentum": 0.9}, 1000, 50),
        ("SGD", {}, 1, 1),
        ("Adam", {"betas": (0.9, 0.999)}, 3, 1),
    ],
)
def test_warm_up_follows_from_the_optimizer(name: str, settings: dict[str, object], steps: int, expected: int) -> None:
    advice = advice_on(good(name=name, settings=settings), Request(steps=steps))
    assert advice.schedule is not None
    assert advice.schedule.schedule.warmup == expected


def test_epochs_count_the_loaders_batches() -> None:
    advice = advice_on(good(), Request(epochs=2.5))
    assert advice.schedule is not None
    assert advice.schedule.steps == round(2.5 * 21)


def test_without_a_length_there_is_a_pick_but_no_config() -> None:
    advice = advice_on(good(), Request())
    assert advice.lr is not None
    assert advice.schedule is None


@pytest.mark.parametrize("name", ["constant", "linear", "cosine", "step"])
def test_each_schedule_can_be_asked_for(name: str) -> None:
    advice = advice_on(good(), Request(steps=400, schedule=name, warmup=0))
    assert advice.schedule is not None
    assert advice.schedule.schedule.name == name
    assert advice.schedule.lrs()[0] == advice.schedule.optimizer.lr


def test_another_rule_and_a_rate_of_ones_own() -> None:
    lowest = advice_on(good(), Request(steps=400, rule="lowest"))
    assert lowest.picks[0].rule == "lowest"
    assert lowest.schedule is not None
    assert lowest.schedule.evidence is not None
    assert lowest.schedule.evidence.rule == "lowest"
    for lr, where in ((0.01, "inside"), (1e-6, "below"), (90.0, "above")):
        own = advice_on(good(), Request(steps=400, lr=lr))
        assert own.lr == lr
        assert own.picks[0].rule == "given"
        assert where in own.picks[0].why
        assert own.picks[1].rule == "steepest"


def test_a_given_rate_works_where_the_sweep_refuses() -> None:
    advice = advice_on(sweep_of(nan_from(None), SWEEP), Request(steps=10, lr=0.1))
    assert advice.schedule is not None
    assert advice.schedule.optimizer.lr == 0.1


def test_several_groups_keep_their_ratios_in_the_config() -> None:
    advice = advice_on(good(group_ratios=(1.0, 0.1)), Request(steps=400))
    assert advice.schedule is not None
    assert advice.schedule.optimizer.groups == (1.0, 0.1)


def test_what_no_optimizer_could_be_given_stays_out_of_the_config() -> None:
    settings: dict[str, object] = {"betas": (0.9, 0.999), "my own": 1.0, "a=f(), b": 2.0, "lambda": 3.0, "_step": 4.0}
    advice = advice_on(good(settings=settings), Request(steps=400))
    assert advice.schedule is not None
    assert advice.schedule.optimizer.settings == {"betas": (0.9, 0.999)}


@pytest.mark.parametrize("name", [name for name in TRAITS if hasattr(torch.optim, name)])
@pytest.mark.parametrize("decoupled", [False, True])
def test_its_settings_are_those_that_torch_takes(name: str, decoupled: bool) -> None:
    """AdamW's own groups hold a `decoupled_weight_decay` that its class doesn't take, and Adam's one that it does."""
    kind = getattr(torch.optim, name)
    takes = decoupled and "decoupled_weight_decay" in inspect.signature(kind).parameters
    optimizer = kind(
        [torch.nn.Parameter(torch.zeros(2, 2))], lr=0.01, **({"decoupled_weight_decay": True} if takes else {})
    )
    swept = SweptOptimizer(name="", optimizer=optimizer, group_ratios=(1.0,))
    settings = optimizer_facts([swept], "model file").settings
    advice = advice_on(good(name=name, settings=settings), Request(steps=400))
    assert advice.schedule is not None
    made = advice.schedule.optimizer
    inspect.signature(kind).bind([], lr=made.lr, **made.settings)
    assert ("decoupled_weight_decay" in made.settings) is takes
    assert not [it for it in lint(advice.schedule) if "settings" in it.where and "takes no" in it.what]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request(steps=0), "steps must be at least 1"),
        (Request(epochs=0.0), "epochs must be above 0"),
        (Request(steps=5, epochs=1), "both"),
        (Request(steps=5, schedule="zigzag"), "unknown schedule 'zigzag'"),
        (Request(steps=5, rule="guess"), "unknown rule 'guess'"),
        (Request(steps=5, warmup=6), "warmup must be from 0 to the run's 5 updates"),
        (Request(steps=5, lr=math.nan), "lr must be a finite number"),
        (Request(steps=5, lr=0.0), "lr must be a finite number"),
    ],
)
def test_requests_that_cannot_be_meant(request_: Request, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        advice_on(good(), request_)


def test_epochs_without_a_length_ask_for_steps() -> None:
    result = good()
    endless = dataclasses.replace(result, setup=dataclasses.replace(result.setup, batches_per_epoch=None))
    with pytest.raises(UsageError, match="no length") as caught:
        advice_on(endless, Request(epochs=3))
    assert "--steps" in str(caught.value.hint)


def test_the_json_has_what_scripts_rely_on() -> None:
    document = json.loads(json.dumps(recommend_document(advice_on(good(), Request(steps=50))), allow_nan=False))
    assert document["updates"] == sum(trace.updates for trace in good().traces)
    assert set(document["picks"][0]) == {"rule", "lr", "low", "high", "status", "why"}
    assert document["config"]["version"] == 1
    assert document["config"]["schedule"]["steps"] == 50
    assert document["config"]["optimizer"]["settings"]["betas"] == [0.9, 0.999]


def test_what_holds_for_all_picks_is_a_note_and_stands_in_each_reason() -> None:
    advice = advice_on(good(), Request(steps=2000))  # 20 times the sweep's 100 updates
    assert advice.notes == (
        "the coming run is 20 times as long as any that was tried: `lrfinder verify` measures longer ones",
    )
    own = [pick for pick in advice.picks if pick.rule in {"steepest", "lowest", "steepest-raw"}]
    assert all(pick.why.endswith(advice.notes[0]) for pick in own)
    assert advice_on(good(), Request(steps=1000)).notes == ()
