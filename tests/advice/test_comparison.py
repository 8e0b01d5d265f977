"""Whether runs may be compared, and whether their picks differ, against the normal law and the records' own fields."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from helpers.answers import answer_of, picked
from lrfinder.advice.answer import RunAnswer
from lrfinder.advice.comparison import compare_answers
from lrfinder.records import (
    Chart,
    Metric,
    Mode,
    OptimizerFacts,
    Pick,
    Precision,
    Setup,
    Spacing,
    Start,
    Status,
    SweepResult,
    SweepSettings,
    UpdateOptions,
)

SETUP = Setup(
    model="net",
    parameters=10,
    loss="cross-entropy",
    optimizer=OptimizerFacts(name="SGD", settings={"momentum": 0.9}),
    batch_size=64,
    batches_per_epoch=100,
    device="cpu",
    torch="2.13.0",
    python="3.11",
    lrfinder="0.1.0",
)
RUN = SweepResult(settings=SweepSettings(), setup=SETUP, traces=())
Z90 = 1.6448536269514722  # a 90 % interval reaches so many standard errors to each side


def answer(x: float = -2.0, error: float | None = 0.2, *, name: str = "a", result: SweepResult = RUN) -> RunAnswer:
    """Return an answer whose pick is 10**x, with the 90 % interval of a normal law of this standard error."""
    low, high = (None, None) if error is None else (10 ** (x - Z90 * error), 10 ** (x + Z90 * error))
    pick = Pick(rule="trials", lr=10**x, low=low, high=high, status=Status.CONFIDENT, why="")
    return answer_of(Chart(result=result, picks=(pick,), chosen="trials"), name=name)


errors = st.floats(0.01, 1.0)


@settings(max_examples=40)
@given(st.floats(-4, 0), errors, st.floats(-4, 0), errors, st.integers(2, 5))
def test_picks_differ_where_the_normal_law_says_so(x: float, a: float, y: float, b: float, runs: int) -> None:
    """Two-sided test at 10 %, shared out among all pairs (Bonferroni): p = 2 (1 - Phi(|x - y| / sqrt(a^2 + b^2)))."""
    others = [answer(-1.0, 0.3, name=f"more {i}") for i in range(runs - 2)]
    pair = compare_answers([answer(x, a), answer(y, b, name="b"), *others]).pairs[0]
    p = 2 * norm.sf(abs(x - y) / math.hypot(a, b))
    threshold = 0.1 / (runs * (runs - 1) / 2)
    if abs(p / threshold - 1) > 1e-6:
        assert pair.clear is bool(p < threshold)
    assert pair.factor == pytest.approx(10 ** abs(x - y))
    swapped = compare_answers([answer(y, b, name="b"), answer(x, a), *others]).pairs[0]
    assert (swapped.clear, swapped.factor) == (pair.clear, pair.factor)
    assert swapped.needed == pytest.approx(pair.needed)


def test_the_same_run_twice_is_comparable_and_not_different() -> None:
    comparison = compare_answers([answer(), answer(name="b")])
    assert comparison.differences == ()
    assert comparison.losses_comparable
    assert comparison.rates_comparable
    assert "under the same conditions" in comparison.verdict[0]
    assert "do not differ clearly" in comparison.verdict[1]


CHANGED: dict[type, dict[str, Any]] = {
    Setup: {
        "start": Start(file="ck.pt", sha256="ab" * 32), "processes": 2,
        "model": "other", "parameters": 11, "loss": "mean squared error", "batch_size": 32, "batches_per_epoch": 300,
        "device": "cuda", "torch": "2.6.0", "cached_batches": 4, "judged": "training mode: it fails in evaluation mode",
        "optimizer": OptimizerFacts(name="AdamW", settings={"momentum": 0.9}),
    },
    SweepSettings: {
        "min_lr": 1e-5, "max_lr": 10.0, "steps": 200, "spacing": Spacing.LINEAR, "mode": Mode.RESTART, "run_steps": 50,
        "metric": Metric.VAL,
    },
    UpdateOptions: {
        "precision": Precision.BF16, "accumulate": 2, "clip_norm": 1.0, "clip_value": 1.0, "swept_optimizer": "net",
        "scale_others": True,
    },
    OptimizerFacts: {"name": "AdamW", "settings": {"momentum": 0.8}, "group_ratios": (1.0, 0.1)},
}  # fmt: skip
# What is chance, only narrows an interval, follows from the rest, or can't move a loss.
FREE = {
    "seed", "repeats", "max_seconds", "cache_batches", "python", "lrfinder", "graph", "default_lr", "chosen_by",
    "own_lr", "skipped_hooks", "first_batch", "batch_per_process", "sharding", "strategy", "doubt", "sizes",
}  # fmt: skip
IN_NUMBERS = {
    "losses": {
        "loss",
        "batches_per_epoch",
        "cached_batches",
        "min_lr",
        "max_lr",
        "steps",
        "spacing",
        "metric",
        "judged",
        "start",
    }
}


def test_every_field_of_the_records_is_compared_or_free() -> None:
    for record, changed in CHANGED.items():
        assert {field.name for field in dataclasses.fields(record)} - FREE == set(changed)


@pytest.mark.parametrize(("record", "field"), [(record, field) for record in CHANGED for field in CHANGED[record]])
def test_what_differs_is_named_with_what_follows(record: type, field: str) -> None:
    changed, one = {field: CHANGED[record][field]}, answer()
    result, training = RUN, UpdateOptions()
    if record is UpdateOptions:
        training = dataclasses.replace(training, **changed)
    elif record is SweepSettings:
        result = dataclasses.replace(RUN, settings=dataclasses.replace(RUN.settings, **changed))
    else:
        facts = dataclasses.replace(SETUP.optimizer, **changed) if record is OptimizerFacts else SETUP.optimizer
        setup = dataclasses.replace(SETUP, **{"optimizer": facts, **(changed if record is Setup else {})})
        result = dataclasses.replace(RUN, setup=setup)
    other = dataclasses.replace(answer(name="b", result=result), training=training)
    comparison = compare_answers([one, other])
    about_rates = field in {"optimizer", "group_ratios"} or (record is OptimizerFacts and field == "name")
    # Half as many samples a batch and as many batches: half of the data.
    about_losses = field in IN_NUMBERS["losses"] | {"batch_size"}
    assert len(comparison.differences) == (2 if field == "batch_size" else 1), comparison.differences
    assert comparison.rates_comparable is not about_rates
    assert comparison.losses_comparable is not about_losses
    assert comparison.verdict[0].startswith("The runs differ in ")
    assert all(difference.what in comparison.verdict[0] for difference in comparison.differences)
    assert comparison.pairs[0].clear is (None if about_rates else False)


@pytest.mark.parametrize(
    ("batch", "batches", "same"), [(32, 200, True), (32, 199, True), (50, 128, True), (32, 150, False)]
)
def test_another_batch_size_of_the_same_data_is_one_difference(batch: int, batches: int, same: bool) -> None:
    setup = dataclasses.replace(SETUP, batch_size=batch, batches_per_epoch=batches)
    other = answer(name="b", result=dataclasses.replace(RUN, setup=setup))
    comparison = compare_answers([answer(), other])
    assert [difference.what for difference in comparison.differences] == ["batch size"][: 1] if same else [
        "samples of an epoch", "batch size"
    ]  # fmt: skip
    assert comparison.losses_comparable is same
    if same:
        assert "comes from that, or from chance" in comparison.verdict[1]


def test_a_run_without_a_pick_or_an_interval_is_shown_and_not_judged() -> None:
    refused = picked(
        answer(name="none"), lr=None, low=None, high=None, status=Status.REFUSED, why="the loss never fell"
    )
    comparison = compare_answers([answer(), refused, answer(error=None, name="bare")])
    assert [pair.clear for pair in comparison.pairs] == [None, None, None]
    assert "none has no pick: the loss never fell." in comparison.verdict
    assert any("bare's pick has no interval" in sentence for sentence in comparison.verdict)


def test_only_pairs_that_can_be_judged_share_the_chance_of_error() -> None:
    pair = [answer(), answer(-1.8, name="b")]
    refused = picked(
        answer(name="none"), lr=None, low=None, high=None, status=Status.REFUSED, why="the loss never fell"
    )
    other = dataclasses.replace(SETUP, optimizer=OptimizerFacts(name="AdamW", settings={}))
    adamw = answer(name="adamw", result=dataclasses.replace(RUN, setup=other))
    assert compare_answers([*pair, refused, adamw]).pairs[0].needed == compare_answers(pair).pairs[0].needed


def test_a_difference_that_rests_on_an_uncertain_pick_says_so() -> None:
    doubted = picked(answer(0.0, 0.1, name="b"), status=Status.UNCERTAIN)
    sentences = " ".join(compare_answers([answer(-3.0, 0.1), doubted]).verdict)
    assert "differ clearly: they lie a factor of 1000.00 apart" in sentences
    assert "One of the two is uncertain" in sentences


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, True),
        ({"seed": 1}, False),
        ({"torch": "2.6.0"}, False),
        ({"file": "b"}, False),
        ({"data": None}, False),
    ],
)
def test_other_data_are_told_where_the_first_batch_would_be_the_same(changed: dict[str, Any], told: bool) -> None:
    def one(data: str | None, seed: int = 0, torch: str = "2.13.0", file: str = "a" * 64) -> RunAnswer:
        setup = dataclasses.replace(SETUP, first_batch=data, torch=torch)
        result = dataclasses.replace(RUN, setup=setup, settings=dataclasses.replace(RUN.settings, seed=seed))
        return dataclasses.replace(answer(result=result), model_sha256=file)

    comparison = compare_answers([one("1234"), one(**({"data": "5678"} | changed))])
    found = [difference for difference in comparison.differences if difference.what == "digest of the first batch"]
    assert [difference.values for difference in found] == ([("1234", "5678")] if told else [])
    if told:
        assert not comparison.losses_comparable
