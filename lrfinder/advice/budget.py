"""What is to be verified, and how many updates that may cost."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from lrfinder.errors import UsageError
from lrfinder.records import Band
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

    `budget` counts updates, without those of the sweep. `schedules` are other shapes to try. `band` is the sweep's
    trainable band, which no recommendation leaves. `against` is a rate to compare with: one trial beyond the budget.
    """

    steps: int
    budget: int
    lr: float
    schedule: str = "linear"
    schedules: tuple[str, ...] = ()
    warmup: int | None = None
    seed: int = 0
    band: Band | None = None
    against: float | None = None

    def __post_init__(self) -> None:
        if self.against is not None and not 0 < self.against < math.inf:
            raise UsageError(f"the rate to compare with must be a finite number above 0, got {self.against}")
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """The updates of a trial of each length; `short` is None if the sweep's own runs do for it, or it isn't needed.

    `most` bounds the number of runs of the second length.
    """

    short: int | None
    long: int
    most: int


def default_budget(steps: int, shapes: int = 0) -> int:
    """Return the updates that verifying a run of `steps` updates may cost, with `shapes` other shapes to try.

    Up to FULL_LENGTH, FULL_RUNS whole runs and one for each shape; beyond, SHARE of the run, at least LEAST_BUDGET.
    """
    if steps <= FULL_LENGTH:
        return (FULL_RUNS + shapes) * max(steps, LEAST_STEPS)
    return max(LEAST_BUDGET, round(SHARE * steps))


def budget_in_updates(budget: float | str | None, steps: int, shapes: int = 0) -> int:
    """Return a budget in updates, for a coming run of `steps` updates and `shapes` other shapes to try.

    A number of updates (800, "800"), or a share of the coming run (0.25, "0.25", "25%"); None: the default. Raises
    UsageError for anything else, and if it pays for less than LONG_RUNS runs of LEAST_STEPS updates.
    """
    if budget is None:
        return default_budget(steps, shapes)
    updates = _updates(budget, steps)
    least = LONG_RUNS * LEAST_STEPS
    if updates is None:
        raise UsageError(
            f"budget: {budget!r} is neither a whole number of updates nor a share", hint="give 800, 25% or 0.25"
        )
    if updates < least:
        raise UsageError(f"budget: {updates} updates are too few", hint=f"give at least {least}")
    return updates


def _updates(budget: float | str, steps: int) -> int | None:
    """Return the updates of a budget; None if it is neither a whole number of them nor a share of `steps`."""
    if isinstance(budget, str):
        if percent := re.fullmatch(r"(\d+(?:\.\d+)?)%", budget):
            share = float(percent[1]) / 100 * steps
            return round(share) if math.isfinite(share) else None
        if not re.fullmatch(r"\d+|0?\.\d+", budget):
            return None
        budget = float(budget)
    if 0 < budget < 1:
        return round(budget * steps)
    return int(budget) if math.isfinite(budget) and budget == int(budget) and budget >= 0 else None
