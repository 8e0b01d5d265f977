"""Several short runs: made at once if that is faster, in other processes, or one by one."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from lrfinder.engine.extensions import batched_runs
from lrfinder.engine.short_runs import ShortRuns
from lrfinder.records import RunPlan, ShortRun

# Makes some of the runs elsewhere and yields each as it ends; it gets the plans, and the seconds of an update here.
Elsewhere = Callable[[Sequence[RunPlan], float], Iterator[ShortRun]]


class RunQueue(ShortRuns):
    """Short runs that may be made together; each gives the same result as by itself."""

    def __init__(self, *args: Any, elsewhere: Elsewhere | None = None, **options: Any) -> None:
        """`elsewhere` is offered the runs that can't be made at once."""
        super().__init__(*args, **options)
        self._elsewhere = elsewhere
        self._batched = None if self.batching.team is not None else batched_runs(self)

    def run_all(self, plans: Sequence[RunPlan]) -> Iterator[ShortRun]:
        """Make the runs and yield each as it ends; stop asking after one that was cut short.

        The results are those of single runs, except for rounding. If the model is small and its optimizer known,
        several runs are trained at once, unless the first updates show that this is slower. `elsewhere` gets the rest.
        """
        for _, group in itertools.groupby(plans, key=lambda plan: (plan.repeat, plan.steps, plan.batches)):
            first_plan, *rest = group
            began = time.monotonic()
            first = self.run(first_plan)
            seconds = (time.monotonic() - began) / max(1, first.updates)
            losses = self.training_losses
            yield first
            at_once = [] if self._batched is None else self._batched.run(first, losses, rest)
            yield from at_once
            rest = rest[len(at_once) :]
            for made in self._made_elsewhere(rest, seconds):
                rest.remove(made.plan)
                yield made
            for plan in rest:
                yield self.run(plan)

    def _made_elsewhere(self, plans: Sequence[RunPlan], seconds: float) -> Iterator[ShortRun]:
        if self._elsewhere is None or not plans:
            return
        runs = self._elsewhere(tuple(plans), seconds)
        while True:
            with self.interrupts.allowed():  # only while it waits, not while the run is reported
                made = next(runs, None)
            if made is None:
                return
            self.observer.run_started(made.plan)
            self.observer.run_ended(made)
            yield made
