"""How long trials may take, and what they took."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from lrfinder.records import RunPlan


class TimeLimit:
    """Tells which runs begin before so many `seconds` have gone by; None: all do. A run that has begun is finished."""

    def __init__(self, seconds: float | None, pace: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        """`pace` is how long an update takes, in seconds, until this process has made some."""
        self._seconds = math.inf if seconds is None else seconds
        self._pace = pace or 0.0
        self._clock = clock
        self._begun: float | None = None
        self.updates = 0  # made so far

    def begin(self) -> None:
        """The first run begins now."""
        self._begun = self._clock()

    def made(self, updates: int) -> None:
        """So many more updates were made."""
        self.updates += updates

    @property
    def elapsed(self) -> float:
        """The seconds since the first run began."""
        return 0.0 if self._begun is None else self._clock() - self._begun

    def in_time(self, plans: Sequence[RunPlan]) -> tuple[RunPlan, ...]:
        """Return the first of the plans, each of which begins in time if they are made one after the other."""
        begins, kept = self.elapsed, []
        pace = begins / self.updates if self.updates else self._pace
        for plan in plans:
            if begins >= self._seconds:
                break
            kept.append(plan)
            begins += plan.steps * pace
        return tuple(kept)
