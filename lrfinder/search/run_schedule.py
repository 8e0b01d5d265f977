"""The rates of a short run: its schedule, compressed to its length."""

from __future__ import annotations

from collections.abc import Callable

from lrfinder.records import RunPlan
from lrfinder.schedules import SCHEDULES

WARMUP = 0.05  # share of a run's updates, at least one: as long as `recommend` warms up plain optimizers


def schedule_factor(plan: RunPlan) -> Callable[[int], float]:
    """Return f(t) / peak of the plan's schedule, compressed to the run's length."""
    warmup = max(1, round(WARMUP * plan.steps))
    return SCHEDULES[plan.schedule].for_run(steps=plan.steps, warmup=warmup).factor
