"""The coming run's schedule: warm-up, decay, and the reason for each."""

from __future__ import annotations

from lrfinder.advice.warmup import warmup_updates
from lrfinder.errors import UsageError
from lrfinder.records import OptimizerFacts
from lrfinder.schedules import SCHEDULES, Schedule

DEFAULT_SCHEDULE = "linear"


def plan_schedule(
    optimizer: OptimizerFacts, steps: int, *, name: str | None = None, warmup: int | None = None
) -> tuple[Schedule, str]:
    """Return the schedule of a run of `steps` updates, and why.

    Without a `name` the rate falls in a straight line to zero: with a known length nothing simpler is better (Defazio
    et al., arXiv:2310.07831). Without a `warmup`, its length follows from the optimizer.
    Raises UsageError for an unknown name or a warm-up longer than the run.
    """
    if name is not None and name not in SCHEDULES:
        raise UsageError(f"unknown schedule {name!r}", hint=f"choose one of: {', '.join(SCHEDULES)}")
    if warmup is not None and not 0 <= warmup <= steps:
        raise UsageError(f"warmup must be from 0 to the run's {steps} updates, got {warmup}")
    shape = SCHEDULES[name or DEFAULT_SCHEDULE]
    if shape.rises_itself:
        if warmup:
            raise UsageError(f"{name} takes no warm-up, it has a rise of its own", hint="leave --warmup out")
        return shape.for_run(steps=steps, warmup=0), f"{name}, as asked, which has a rise of its own"
    reason = "as asked"
    if warmup is None:
        warmup, reason = warmup_updates(optimizer, steps)
    told = f"{name}, as asked" if name else "a straight line to zero, the safest shape for a known length"
    return shape.for_run(steps=steps, warmup=warmup), f"{warmup} updates of linear warm-up ({reason}), then {told}"
