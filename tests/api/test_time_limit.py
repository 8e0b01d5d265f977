"""Which trials begin in time, by a clock that the test winds."""

from __future__ import annotations

import pytest

from lrfinder.api.training.time_limit import TimeLimit
from lrfinder.records import RunPlan

PLANS = tuple(RunPlan(lr=0.1, steps=steps) for steps in (100, 100, 300, 300))


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(("seconds", "kept"), [(None, 4), (10.0, 4), (5.0, 3), (4.9, 3), (2.0, 2), (0.5, 1), (0.0, 0)])
def test_a_run_begins_if_those_before_it_leave_time(seconds: float | None, kept: int) -> None:
    limit = TimeLimit(seconds, 0.01, Clock())
    limit.begin()
    assert limit.in_time(PLANS) == PLANS[:kept]


def test_what_this_process_measures_counts_more_than_what_the_sweep_did() -> None:
    clock = Clock()
    limit = TimeLimit(10.0, 0.01, clock)
    clock.now += 60  # importing the model file isn't a trial
    limit.begin()
    clock.now += 4
    limit.made(100)  # four times as slow
    assert limit.elapsed == 4
    assert limit.in_time(PLANS) == PLANS[:2]  # they begin at 4 s and at 8 s
    clock.now += 6
    limit.made(100)
    assert limit.in_time(PLANS) == ()
