"""What a sweep tells whoever listens, while it runs."""

from __future__ import annotations

from typing import Protocol

from lrfinder.records import Point, RunPlan, Setup, ShortRun, SweepSettings, Trace


class Observer(Protocol):
    """Called by the sweep's own thread, never cut short by Ctrl-C; an exception raised here ends the sweep."""

    def repeat_started(self, repeat: int) -> None:
        """Repeat number `repeat` begins, counted from 0; nothing has been built for it yet.

        Told of the same number again, it begins anew, since memory ran out: what was measured of it is void.
        """

    def short_sweeps_started(self, settings: SweepSettings) -> None:
        """The repeats that follow, counted from 0 again, are short sweeps under these settings."""

    def prepared(self, setup: Setup) -> None:
        """Take in what is being swept; after the first loss, before the first update.

        Told once by each part, the repeats, the short sweeps and the short runs: the first one counts.
        """

    def measured(self, point: Point) -> None:
        """Take in one measurement, as soon as it is there: on a GPU some updates later."""

    def repeat_ended(self, trace: Trace) -> None:
        """Take in a whole repeat, however it ended, before the user's objects are restored."""

    def run_started(self, plan: RunPlan) -> None:
        """A short run begins, or begins anew where none has ended since; nothing has been built for it yet."""

    def run_updated(self, plan: RunPlan, updates: int, loss: float) -> None:
        """Take in that a short run has made `updates` updates, the last one on a batch with this training loss."""

    def run_ended(self, run: ShortRun) -> None:
        """Take in a whole short run, however it ended, before the user's objects are restored."""
