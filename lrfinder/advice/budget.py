"""What is to be verified, and how many updates that may cost."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lrfinder.errors import UsageError
from lrfinder.schedules import SCHEDULES

FULL_LENGTH = 400  # updates; a run this short is tried at its full length: advice/README.md#full_length
FULL_RUNS = 5  # the rate itself, its two neighbours, and two more if the best of them is an outer one
LEAST_BUDGET = 800  # updates for a longer run; below, trials are too short to tell the best rates apart
SHARE = 0.25  # of the coming run, if that is more: what a tuned rate is worth to a run that is made once
LONG_RUNS = 4  # of the second length, close together: they find its lowest point
LEAST_STEPS = 10  # updates of a run; fewer see little but the warm-up


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyRequest:
    """What is to be verified, for a run of `steps` updates: the peak `lr` of `schedule`, and how much may be spent.

    `budget` counts updates, without those of the sweep. `schedules` are other shapes to try.
    """

    steps: int
    budget: int
    lr: float
    schedule: str = "linear"
    schedules: tuple[str, ...] = ()
    warmup: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in (self.schedule, *self.schedules):
            if name in SCHEDULES and not SCHEDULES[name].can_be_shortened:
                raise UsageError(
                    f"a {name} schedule can't be tried in short runs: it has no shorter form",
                    hint="verify the peak rate under another shape: --schedule linear --steps T",
                )

    @property
    def others(self) -> tuple[str, ...]:
        """The shapes to try besides the recommended one."""
        return tuple(name for name in self.schedules if name != self.schedule)

    @property
    def pays_for_full_runs(self) -> bool:
        """True if the budget is enough for runs as long as the coming one."""
        return self.budget >= (FULL_RUNS + len(self.others)) * self.steps


def default_budget(steps: int, shapes: int = 0) -> int:
    """Return the updates that verifying a run of `steps` updates may cost, with `shapes` other shapes to try.

    Up to FULL_LENGTH, FULL_RUNS whole runs and one for each shape; beyond, SHARE of the run, at least LEAST_BUDGET.
    """
    if steps <= FULL_LENGTH:
        return (FULL_RUNS + shapes) * max(steps, LEAST_STEPS)
    return max(LEAST_BUDGET, round(SHARE * steps))


def parse_budget(text: str | None, steps: int, shapes: int = 0) -> int:
    """Return a budget in updates from "800", or from a share of the coming run, "25%" or "0.25"; None: the default.

    Raises UsageError for anything else, and if it pays for less than LONG_RUNS runs of LEAST_STEPS updates.
    """
    if text is None:
        return default_budget(steps, shapes)
    if re.fullmatch(r"\d+", text):
        budget = int(text)
    elif re.fullmatch(r"\d+(\.\d+)?%", text):
        budget = round(float(text[:-1]) / 100 * steps)
    elif re.fullmatch(r"0?\.\d+", text):
        budget = round(float(text) * steps)
    else:
        raise UsageError(f"budget: {text!r} is neither a number of updates nor a share", hint="give 800, 25% or 0.25")
    least = LONG_RUNS * LEAST_STEPS
    if budget < least:
        raise UsageError(f"budget: {budget} updates are too few", hint=f"give at least {least}")
    return budget
