"""The function that is exported, run as the user runs it: against the schedule, update by update."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.shapes import schedules
from lrfinder.export.source import factor_source
from lrfinder.schedules import SCHEDULES, Schedule


def run(schedule: Schedule) -> Any:
    names: dict[str, Any] = {"math": math}
    exec(factor_source(schedule, said="a test"), names)  # noqa: S102 - our own text
    return names["factor"]


OF_UPDATES = [name for name, shape in SCHEDULES.items() if not shape.reads_losses]


@given(schedules().filter(lambda it: not it.reads_losses), st.integers(0, 10**6))
def test_it_is_the_schedule_at_every_update(schedule: Schedule, further: int) -> None:
    factor = run(schedule)
    updates = [*range(schedule.steps + 2), schedule.steps + further]
    assert [factor(t) for t in updates] == [schedule.factor(t) for t in updates]


@pytest.mark.parametrize("name", OF_UPDATES)
@pytest.mark.parametrize("steps", [1, 2, 12, 1000])
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_usual_parameters(name: str, steps: int, share: float) -> None:
    schedule = SCHEDULES[name].for_run(steps=steps, warmup=int(share * steps))
    factor = run(schedule)
    assert [factor(t) for t in range(steps + 3)] == [schedule.factor(t) for t in range(steps + 3)]
