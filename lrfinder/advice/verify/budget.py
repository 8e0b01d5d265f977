"""What is to be verified, and how many updates that may cost."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from lrfinder.errors import UsageError
from lrfinder.formatting import HOUR_S, MINUTE_S, format_count, format_duration
from lrfinder.options import MIN_RUN_STEPS, read_count
from lrfinder.records import Band, Cost
from lrfinder.schedules import SCHEDULES
from lrfinder.schedules.base import MAX_STEPS

FULL_LENGTH = 400  # updates; a run this short is tried at its full length: advice/README.md#full_length
FULL_RUNS = 5  # the rate itself, its two neighbours, and two more if the best of them is an outer one
LEAST_BUDGET = 800  # updates for a longer run; below, trials are too short to tell the best rates apart
SHARE = 0.125  # of the coming run, if that is more; LEAST_BUDGET alone is a quarter of a run of 3,200 updates
FIRST_RUNS = 5  # of the first length, far apart: they find the range of good rates
LONG_RUNS = 4  # of the second length, close together: they find its lowest point


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyRequest:
    """What is to be verified, for a run of `steps` updates: the peak `lr` of `schedule`, and how much may be spent.

    `budget` counts updates, without those of the sweep. `schedules` are other shapes to try. `band` is the sweep's
    trainable band, which no recommendation leaves; `chance_onset` is its doubt about when a run begins to learn.
    `against` are rates to compare with, each by one trial more. `seconds`: no trial is begun later than so long after
    the first one.
    """

    steps: int
    budget: int
    lr: float
    schedule: str = "linear"
    schedules: tuple[str, ...] = ()
    warmup: int | None = None
    seed: int = 0
    band: Band | None = None
    chance_onset: str = ""
    against: tuple[float, ...] = ()
    seconds: float | None = None

    def __post_init__(self) -> None:
        for rate in self.against:
            if not 0 < rate < math.inf:
                raise UsageError(f"the rate to compare with must be a finite number above 0, got {rate}")
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
    def compared(self) -> int:
        """How many rates to compare with need a trial of their own."""
        return len([rate for rate in self.against if rate != self.lr])

    @property
    def more(self) -> int:
        """How many trials of the greatest length it wants besides those that find the rate."""
        return len(self.others) + self.compared

    @property
    def pays_for_full_runs(self) -> bool:
        """True if the budget is enough for runs as long as the coming one."""
        return self.budget >= (max(FULL_RUNS, LONG_RUNS + self.compared) + len(self.others)) * self.steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """The updates of a trial of each length; `short` is None if the sweep's own runs do for it, or it isn't needed.

    `most` bounds the number of runs of the second length.
    """

    short: int | None
    long: int
    most: int

    def most_updates(self, more: int) -> int:
        """Return what all trials cost at most: also that of the rate decided for, one above it, and so many `more`."""
        short = 0 if self.short is None else FIRST_RUNS * self.short
        return short + (self.most + 2 + more) * self.long


def default_budget(steps: int, more: int = 0) -> int:
    """Return the updates that verifying a run of `steps` updates may cost, with so many `more` trials as wanted.

    Up to FULL_LENGTH, FULL_RUNS whole runs and those; beyond, SHARE of the run, at least LEAST_BUDGET.
    """
    if steps <= FULL_LENGTH:
        return (FULL_RUNS + more) * max(steps, MIN_RUN_STEPS)
    return max(LEAST_BUDGET, round(SHARE * steps))


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What trials may cost, as people say it: one of so many updates, a share of the coming run, or seconds."""

    said: str
    updates: int | None = None
    share: float | None = None
    seconds: float | None = None

    @property
    def is_nothing(self) -> bool:
        """True if no trials are wanted."""
        return not (self.updates or self.share or self.seconds)

    def in_updates(self, steps: int, pace: float | None) -> int:
        """Return it in updates, for a coming run of `steps`, if an update takes `pace` seconds.

        Raises UsageError if that isn't known and the budget is a time, and if it pays for less than LONG_RUNS runs of
        MIN_RUN_STEPS updates.
        """
        least = LONG_RUNS * MIN_RUN_STEPS
        if self.seconds is not None and pace is None:
            raise UsageError(
                f"budget: how many updates {self.said} pay for isn't known: the run folder has no times",
                hint="give a number of updates or a share of the run, or sweep again",
            )
        updates = self.updates or 0
        if self.share is not None:
            updates = round(self.share * steps)
        elif self.seconds is not None and pace is not None:
            updates = int(self.seconds / pace)
        if updates < least:
            paid = "" if self.share is self.seconds is None else f", that is {self.said}"
            raise UsageError(
                f"budget: {format_count(updates, 'update')}{paid}, are too few", hint=f"give at least {least}"
            )
        return updates


def read_budget(budget: Budget | float | str | None) -> Budget | None:
    """Return what people said: updates (800, "10k"), a share (0.25, "25%") or a time ("90s", "5min", "1h30min").

    None: the default. Raises UsageError for anything else.
    """
    if budget is None or isinstance(budget, Budget):
        return budget
    said = str(budget).strip()
    if isinstance(budget, str):
        found = _time(said) or _share(said) or _count(said)
    else:
        found = Budget(said=said, share=float(budget)) if 0 < budget < 1 else _count(said.removesuffix(".0"))
    if found is None:
        raise UsageError(
            f"budget: {budget!r} is neither a whole number of updates, nor a share of the run, nor a time",
            hint="give 800, 10% or 5min",
        )
    return found


def budget_in_updates(budget: Budget | None, steps: int, more: int = 0, *, pace: float | None = None) -> int:
    """Return a budget in updates, for a coming run of `steps` updates and so many `more` trials as in `default_budget`.

    `pace` is the seconds of an update. Raises UsageError as `Budget.in_updates` does.
    """
    return default_budget(steps, more) if budget is None else budget.in_updates(steps, pace)


def _share(said: str) -> Budget | None:
    if percent := re.fullmatch(r"(\d+(?:\.\d+)?) ?%", said):
        share = float(percent[1]) / 100
    elif re.fullmatch(r"0?\.\d+", said):
        share = float(said)
    else:
        return None
    return Budget(said=said, share=share) if share * MAX_STEPS < math.inf else None


def _count(said: str) -> Budget | None:
    updates = read_count(said)
    return None if updates is None or updates < 0 else Budget(said=said, updates=updates)


def _time(said: str) -> Budget | None:
    number = r"(\d+(?:\.\d+)?)"
    parts = re.fullmatch(rf"(?:{number} ?h)? ?(?:{number} ?min)? ?(?:{number} ?s)?", said)
    if parts is None or not any(parts.groups()):
        return None
    hours, minutes, seconds = (float(part or 0) for part in parts.groups())
    whole = hours * HOUR_S + minutes * MINUTE_S + seconds
    return Budget(said=said, seconds=whole) if math.isfinite(whole) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What trials were to cost at most, and what those of one call did cost.

    `unbegun` updates were left out, since the time was over; a trial that has begun is never broken off for that.
    """

    planned: Cost
    spent: Cost
    budget: str = ""  # as it was said; empty: the default
    unbegun: int = 0

    def __str__(self) -> str:
        if not self.spent.updates and not self.unbegun:
            return "No new trial was made."
        took = f"The trials took {format_count(self.spent.updates, 'update')}"
        if self.spent.seconds is not None:
            took += f" and {format_duration(self.spent.seconds)}"
        if self.budget:
            took += f" of a budget of {self.budget}"
        if self.unbegun:
            took += f"; then the time was over, and {format_count(self.unbegun, 'update')} of trials weren't begun: "
            took += "the same command makes them"
        return f"{took}."


def estimate(cost: Cost) -> str:
    """Return what trials are expected to cost, in words."""
    said = f"trials: at most {format_count(cost.updates, 'update')}"
    if cost.seconds is not None:
        said += f", about {format_duration(cost.seconds)}"
    if cost.memory is not None:
        said += f", {cost.memory / 1e9:.1f} GB of memory as in the sweep"
    return said
