"""Several observers of one sweep."""

from __future__ import annotations

from collections.abc import Sequence

from lrfinder.engine.observer import Observer
from lrfinder.records import Point, RunPlan, Setup, ShortRun, SweepSettings, Trace


class Broadcast(Observer):
    """Passes on what the sweep tells to each observer, in order; `setup` is what it was told of the thing swept.

    Where a sweep carries on, it is known before: `setup`.
    """

    def __init__(self, observers: Sequence[Observer], *, setup: Setup | None = None) -> None:
        self._observers = tuple(observers)
        self._told = False
        self.setup = setup

    def repeat_started(self, repeat: int) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.repeat_started(repeat)

    def short_sweeps_started(self, settings: SweepSettings) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.short_sweeps_started(settings)

    def prepared(self, setup: Setup) -> None:
        """Remember, and pass on; what is told again, by what follows the repeats, is known already."""
        if self._told:
            return
        self._told = True
        self.setup = setup
        for observer in self._observers:
            observer.prepared(setup)

    def measured(self, point: Point) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.measured(point)

    def repeat_ended(self, trace: Trace) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.repeat_ended(trace)

    def run_started(self, plan: RunPlan) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.run_started(plan)

    def run_updated(self, plan: RunPlan, updates: int, loss: float) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.run_updated(plan, updates, loss)

    def run_ended(self, run: ShortRun) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.run_ended(run)
