"""What holds for every shape of the table, whatever its parameters."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from helpers.shapes import MAY_RISE_AGAIN, PARAMETERS, RISE_THEMSELVES, schedules, share
from lrfinder.schedules import SCHEDULES, AnySchedule, Cosine, Schedule

# What can't be left out of a shape, beside `steps`.
NEEDED: dict[str, dict[str, Any]] = {
    "step": {"every": 2, "factor": 0.5},
    "multi-step": {"milestones": (3,), "factor": 0.5},
    "exponential": {"factor": 0.5},
    "time-based": {"rate": 0.1},
    "wsd": {"cooldown": 3},
    "cosine-restarts": {"first": 3},
    "cyclical": {"up": 3},
    "table": {"points": ((0, 1.0), (5, 0.5))},
}


@given(schedules())
def test_between_zero_and_the_peak(schedule: Schedule) -> None:
    assert all(0 <= schedule.factor(t) <= 1 for t in range(schedule.steps + 3))


@given(schedules())
def test_the_warmup_rises_evenly_and_reaches_the_peak(schedule: Schedule) -> None:
    rates = [schedule.factor(t) for t in range(schedule.warmup)]
    start = schedule.warmup_start
    if start is None:
        assert rates == [(t + 1) / schedule.warmup for t in range(schedule.warmup)]
    else:
        assert rates == pytest.approx(np.linspace(start, 1, schedule.warmup + 1)[:-1].tolist())
    if schedule.name in {*RISE_THEMSELVES, "table"} or getattr(schedule, "halved_first", False):
        return
    if start is None:
        assert schedule.factor(max(schedule.warmup - 1, 0)) == 1.0
    if schedule.warmup < schedule.steps and schedule.name != "noam":  # which counts from 1, so that W + 1 follows W
        assert schedule.factor(schedule.warmup) == 1.0


@given(schedules())
def test_never_rises_after_the_warmup(schedule: Schedule) -> None:
    assume(schedule.name not in MAY_RISE_AGAIN)
    rates = [schedule.factor(t) for t in range(schedule.warmup, schedule.steps + 5)]
    assert all(later <= earlier + 1e-15 for earlier, later in itertools.pairwise(rates))


@given(schedules(), st.integers(0, 10**12))
def test_held_past_the_end(schedule: Schedule, further: int) -> None:
    assert schedule.factor(schedule.steps + further) == schedule.factor(schedule.steps)


@given(schedules())
def test_goes_to_plain_data_and_back(schedule: Schedule) -> None:
    data = schedule.model_dump(by_alias=True)
    assert TypeAdapter(AnySchedule).validate_python(data) == schedule


@pytest.mark.parametrize("name", SCHEDULES)
class TestEveryShape:
    def test_says_what_it_is_in_one_line(self, name: str) -> None:
        shape = SCHEDULES[name]
        assert shape.model_fields["name"].default == name
        assert "\n" not in shape.advice
        assert shape.advice
        assert "factor(t) =" in (shape.__doc__ or "")

    @pytest.mark.parametrize(
        ("wrong", "complaint"),
        [
            ({"steps": 0}, "greater than or equal to 1"),
            ({"steps": -3}, "greater than or equal to 1"),
            ({"steps": 10**9}, "less than or equal to 100000000"),
            ({"steps": 10.0}, "valid integer"),
            ({"steps": True}, "valid integer"),
            ({"steps": "10"}, "valid integer"),
            ({"warmup": -1}, "greater than or equal to 0"),
            ({"warmup": 11}, r"at least warmup \(11\), got 10|has a rise of its own"),
            ({"peak": 1.0}, "not permitted"),
            ({"warmup": 0, "warmup_start": 0.0}, "expected a warm-up that starts at 0"),
            ({"warmup_start": 1.5}, "less than or equal to 1|a warm-up that starts"),
            ({"name": "other"}, "Input should be"),
        ],
    )
    def test_refuses_what_it_cannot_mean(self, name: str, wrong: dict[str, Any], complaint: str) -> None:
        sound = {"steps": 10, "warmup": 0 if name in RISE_THEMSELVES else 2} | NEEDED.get(name, {})
        SCHEDULES[name](**sound)
        with pytest.raises(ValidationError, match=complaint):
            SCHEDULES[name](**(sound | wrong))

    def test_is_frozen(self, name: str) -> None:
        schedule = SCHEDULES[name](**({"steps": 10} | NEEDED.get(name, {})))
        with pytest.raises(ValidationError, match="frozen"):
            schedule.steps = 20


def test_the_table_and_the_strategies_name_the_same_shapes() -> None:
    assert set(PARAMETERS) == set(SCHEDULES)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), float("inf"), True, "0"])
def test_final_is_a_share_of_the_peak(value: object) -> None:
    for name in ("linear", "cosine"):
        with pytest.raises(ValidationError):
            SCHEDULES[name](steps=10, final=value)


@pytest.mark.parametrize("wrong", [{"every": 0}, {"every": 1.5}, {"factor": 0.0}, {"factor": 1.5}, {"drop": 0.5}])
def test_step_parameters(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SCHEDULES["step"](**({"steps": 10, "every": 2, "factor": 0.5} | wrong))


@given(st.sampled_from(sorted(SCHEDULES)), st.integers(1, 5000), share)
def test_the_usual_parameters_fit_any_run(name: str, steps: int, warm: float) -> None:
    schedule = SCHEDULES[name].for_run(steps=steps, warmup=int(warm * steps))
    warmup = 0 if name in RISE_THEMSELVES else int(warm * steps)
    assert (schedule.name, schedule.steps, schedule.warmup) == (name, steps, warmup)


@given(schedules(), st.lists(st.integers(0, 400), min_size=1, max_size=20))
def test_the_order_of_the_questions_does_not_matter(schedule: Schedule, asked: list[int]) -> None:
    in_order = {t: schedule.factor(t) for t in sorted(set(asked))}
    again = type(schedule).model_validate(schedule.model_dump(by_alias=True))
    assert [again.factor(t) for t in asked] == [in_order[t] for t in asked]


# What drops, restarts or waits for losses; every other shape is continuous with its usual parameters.
JUMPS = {"step", "multi-step", "geometric", "cosine-restarts"}


@pytest.mark.parametrize("name", SCHEDULES)
def test_continuous_where_it_claims(name: str) -> None:
    """A hundred times as many updates make the largest step ten times smaller or more; a jump stays what it is."""
    steps = [
        max(abs(b - a) for a, b in itertools.pairwise(map(schedule.factor, range(schedule.steps))))
        for schedule in (SCHEDULES[name].for_run(steps=n, warmup=n // 10) for n in (300, 30_000))
    ]
    if name in JUMPS:
        assert steps[1] > 0.9 * steps[0] > 0.1
    else:
        assert steps[1] <= steps[0] / 9


def test_a_copy_with_other_parameters_follows_those() -> None:
    made = Cosine(steps=10)
    assert made.factor(5) == pytest.approx(0.5)
    assert made.model_copy(update={"final": 0.5}).factor(5) == pytest.approx(0.75)
    assert made.factor(5) == pytest.approx(0.5)
