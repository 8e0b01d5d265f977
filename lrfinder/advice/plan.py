"""The coming run's schedule: warm-up, decay, and the reason for each."""

from __future__ import annotations

from collections.abc import Iterable

from lrfinder.advice.choice import Choice, choose
from lrfinder.advice.warmup import warmup_updates
from lrfinder.errors import UsageError, unknown_choice
from lrfinder.records import OptimizerFacts, ShortRun
from lrfinder.records.given import whole
from lrfinder.schedules import SCHEDULES, Schedule, WarmupStableDecay

# Updates in the config of an open-ended run: past them the peak is held anyway. A tenth of them is the warm-up of
# Adam's defaults, 2/(1 - 0.999).
OPEN_STEPS = 20_000


def carried_warmup(warmup: int | None, before: str, after: str) -> int | None:
    """Return the warm-up of a run of the shape `before` for one of the shape `after`; None: it is to be chosen anew.

    A shape that rises by itself has none, which says nothing of another shape's.
    """
    rises_itself = any(SCHEDULES[name].rises_itself for name in (before, after))
    return None if before != after and rises_itself else warmup


def plan_schedule(
    optimizer: OptimizerFacts,
    steps: int | None,
    *,
    name: str | None = None,
    warmup: int | None = None,
    trials: Iterable[ShortRun] = (),
) -> tuple[Schedule, str]:
    """Return the schedule of a run of `steps` updates (None: of unknown length), and the reason for it.

    Without a `name` the shape is chosen by evidence: see `choose`; `trials` are those of `verify`. Without a `warmup`,
    its length follows from the optimizer. Raises UsageError for an unknown name or a warm-up longer than the run.
    """
    if name is not None and name not in SCHEDULES:
        raise unknown_choice("schedule", name, SCHEDULES)
    length = OPEN_STEPS if steps is None else steps
    warmup = None if warmup is None else whole("warmup", warmup)
    if warmup is not None and not 0 <= warmup <= length:
        raise UsageError(f"warmup must be from 0 to the run's {length} updates, got {warmup}")
    choice = choose(optimizer, open_ended=steps is None, trials=trials)
    if name is not None:
        choice = Choice(name=name, why=f"{name}, as asked")
    shape = SCHEDULES[choice.name]
    if shape.rises_itself:
        if warmup:
            raise UsageError(f"{choice.name} takes no warm-up, it has a rise of its own", hint="leave --warmup out")
        return shape.for_run(steps=length, warmup=0), f"{choice.why}, which has a rise of its own"
    reason = "as asked"
    if warmup is None and not choice.warms_up:
        return shape.for_run(steps=length, warmup=0), f"{choice.name}, no warm-up: {choice.why}"
    if warmup is None:
        warmup, reason = warmup_updates(optimizer, length)
    schedule = shape.for_run(steps=length, warmup=warmup)
    if steps is None and isinstance(schedule, WarmupStableDecay):
        schedule = schedule.model_copy(update={"cooldown": 0})
    return schedule, f"{warmup} updates of linear warm-up ({reason}), then {choice.why}"
