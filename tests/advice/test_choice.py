"""Which shape is chosen without being asked for, and on what evidence."""

from __future__ import annotations

import dataclasses

import pytest

from helpers.advice import advice_on
from helpers.curves import sweep_of, traces_of
from lrfinder.advice import Request
from lrfinder.advice.choice import choose
from lrfinder.advice.plan import carried_warmup, plan_schedule
from lrfinder.errors import UsageError
from lrfinder.records import OptimizerFacts, RunPlan, ShortRun, Stop, SweepSettings

ADAM = OptimizerFacts(name="AdamW", settings={"betas": (0.9, 0.999)})


def trial(
    schedule: str, loss: float | None, *, steps: int = 200, seed: int = 0, lr: float = 0.01, batches: int | None = None
) -> ShortRun:
    return ShortRun(
        plan=RunPlan(lr=lr, steps=steps, schedule=schedule, batches=batches),
        seed=seed,
        metric="val",
        initial_loss=2.0,
        loss=loss,
        stop=Stop.DIVERGED if loss is None else Stop.COMPLETED,
        updates=steps,
    )


def test_a_known_length_without_evidence_is_a_line_to_zero() -> None:
    choice = choose(ADAM)
    assert (choice.name, choice.warms_up) == ("linear", True)
    assert "safest shape for a known length" in choice.why


def test_what_was_measured_decides_where_it_is_clear() -> None:
    """The fall is from 2 to 1: a shape must end 0.02 lower."""
    near = choose(ADAM, trials=[trial("linear", 1.01), trial("cosine", 1.0)])
    assert near.name == "linear"
    assert "in runs of 200 updates cosine ended no more than 2% of the fall below it" in near.why
    clear = choose(ADAM, trials=[trial("linear", 1.05), trial("cosine", 1.0), trial("constant", 1.2)])
    assert clear.name == "cosine"
    assert "ended lowest of 3 shapes in runs of 200 updates, 5% of the fall below linear" in clear.why


def test_runs_on_other_data_are_not_compared() -> None:
    trials = [trial("linear", 1.05, batches=7), trial("cosine", 1.0, batches=4), trial("linear", 1.0, batches=4)]
    assert choose(ADAM, trials=trials).name == "linear"


def test_the_longest_runs_with_several_shapes_count_each_at_its_best_rate() -> None:
    trials = [
        trial("cosine", 0.5, steps=50),
        trial("linear", 1.5, steps=50),
        trial("linear", 1.3, lr=0.001),
        trial("linear", 1.0, lr=0.01),
        trial("cosine", 1.2),
        trial("linear", 0.9, steps=600),
    ]
    assert choose(ADAM, trials=trials).name == "linear"


def test_a_rate_that_is_kept_constant_is_half_of_the_pick_for_one_that_decays() -> None:
    swept = SweepSettings()
    sweep = sweep_of(traces_of(swept), swept)
    decays, held = (advice_on(sweep, Request(steps=400, schedule=name)) for name in ("linear", "constant"))
    assert held.lr == pytest.approx(decays.lr / 2, rel=0.01)
    assert held.schedule.optimizer.lr == held.lr
    assert held.schedule.lrs()[-1] == held.lr
    assert (held.status, held.picks[1:]) == ("uncertain", decays.picks)
    assert held.picks[0].low < held.lr < held.picks[0].high
    assert f"half of {decays.lr:.3g}, which is for a run that decays" in held.picks[0].why
    assert advice_on(sweep, Request(steps=400, schedule="constant", lr=0.1)).lr == 0.1
    free = sweep_of(traces_of(swept), swept, name="AdamWScheduleFree")
    assert advice_on(free, Request(steps=400, schedule="constant")).lr == decays.lr


def test_runs_of_other_seeds_and_those_that_diverged_are_not_compared() -> None:
    assert "safest" in choose(ADAM, trials=[trial("linear", 1.5), trial("cosine", 1.0, seed=1)]).why
    assert "safest" in choose(ADAM, trials=[trial("linear", 1.5), trial("cosine", None)]).why
    assert "safest" in choose(ADAM, trials=[trial("linear", 2.5), trial("cosine", 2.1)]).why  # nothing learned


@pytest.mark.parametrize("name", ["AdamWScheduleFree", "SGDScheduleFree", "Rprop", "LBFGS"])
def test_optimizers_that_need_no_decay(name: str) -> None:
    facts = OptimizerFacts(name=name, settings={"betas": (0.9, 0.999)})
    schedule, why = plan_schedule(facts, 1000, trials=[trial("linear", 1.0), trial("cosine", 0.5)])
    assert (schedule.name, schedule.warmup) == ("constant", 0)
    assert name in why
    assert plan_schedule(facts, 1000, name="cosine")[0].name == "cosine"
    assert plan_schedule(facts, 1000, warmup=7)[0].warmup == 7


def test_an_open_end_holds_the_peak() -> None:
    schedule, why = plan_schedule(ADAM, None)
    assert (schedule.name, schedule.warmup) == ("wsd", 2000)
    assert {schedule.factor(t) for t in (2000, 5000, schedule.steps, 10**9)} == {1.0}
    assert "length isn't known" in why


def test_the_advice_says_it() -> None:
    sweep = sweep_of(traces_of(SweepSettings(), noise=0.03, stop_above=5.0), SweepSettings())
    open_ended = advice_on(sweep, Request(open_ended=True))
    assert open_ended.schedule.schedule.name == "wsd"
    assert "length isn't known" in open_ended.why
    measured = advice_on(sweep, Request(steps=1000), [trial("linear", 1.5), trial("rex", 1.0)])
    assert measured.schedule.schedule.name == "rex"
    assert "rex, which ended lowest" in measured.why
    asked = advice_on(sweep, Request(steps=1000, schedule="step"), [trial("linear", 1.5), trial("rex", 1.0)])
    assert asked.schedule.schedule.name == "step"
    assert advice_on(dataclasses.replace(sweep), Request()).schedule is None


@pytest.mark.parametrize("length", [{"steps": 10}, {"epochs": 2.0}])
def test_a_length_and_an_open_end_exclude_each_other(length: dict[str, float]) -> None:
    sweep = sweep_of(traces_of(SweepSettings(), noise=0.03, stop_above=5.0), SweepSettings())
    with pytest.raises(UsageError, match="open-ended run has no length"):
        advice_on(sweep, Request(open_ended=True, **length))


@pytest.mark.parametrize(
    ("before", "after", "carried"),
    [("linear", "linear", 40), ("linear", "cosine", 40), ("linear", "one-cycle", None), ("one-cycle", "linear", None)],
)
def test_a_warmup_is_carried_to_another_shape_unless_one_of_them_rises_by_itself(
    before: str, after: str, carried: int | None
) -> None:
    assert carried_warmup(40, before, after) == carried
    plan_schedule(ADAM, 100, name=after, warmup=carried_warmup(40, before, after))
