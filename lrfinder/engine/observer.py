"""Who is called while a sweep runs: the run folder, the progress display, and others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lrfinder.records import Inspection, Point, RunPlan, Setup, ShortRun, SweepResult, SweepSettings, Trace

if TYPE_CHECKING:
    from lrfinder.advice import Advice


class Observer:
    """Base class whose methods do nothing: override those that you need.

    They are called by the sweep's own thread, and Ctrl-C waits until they return. An exception raised here ends the
    sweep.
    """

    def began(self, run: Path | None) -> None:
        """The sweep begins; `run` is its run folder, if it has one. Called for sinks, before all else."""

    def resumed(self, traces: tuple[Trace, ...], short_sweeps: tuple[Trace, ...], runs: tuple[ShortRun, ...]) -> None:
        """An earlier process made these repeats, short sweeps and short runs; the others follow."""

    def repeat_started(self, repeat: int) -> None:
        """Repeat number `repeat` begins, counted from 0; nothing has been built for it yet.

        If the number is that of the repeat before, memory ran out and the repeat begins again: drop its measurements.
        """

    def short_sweeps_started(self, settings: SweepSettings) -> None:
        """The repeats that follow, counted from 0 again, are short sweeps under these settings."""

    def prepared(self, setup: Setup) -> None:
        """The description of what is swept: called after the first loss, before the first update.

        The repeats, the short sweeps and the short runs each call it once; the first call counts.
        """

    def inspected(self, inspection: Inspection) -> None:
        """What the first batch shows; it comes once, after `prepared`."""

    def judged(self, how: str) -> None:
        """It is settled how held-out data are judged: `Setup.judged`; if it comes before `prepared`, that says it."""

    def measured(self, point: Point) -> None:
        """One measurement; on a GPU this comes some updates later."""

    def repeat_ended(self, trace: Trace) -> None:
        """A repeat has ended, for any reason; the user's objects are restored after this call."""

    def runs_planned(self, updates: int) -> None:
        """The runs that follow take so many updates at most, as far as is known; called before those of `verify`."""

    def run_started(self, plan: RunPlan) -> None:
        """A short run begins, or begins again if none has ended since; nothing has been built for it yet."""

    def run_updated(self, plan: RunPlan, updates: int, loss: float) -> None:
        """A short run has made `updates` updates, the last one on a batch with this training loss."""

    def run_ended(self, run: ShortRun) -> None:
        """A short run has ended, for any reason; the user's objects are restored after this call."""

    def finished(self, result: SweepResult, advice: Advice) -> None:
        """The sweep has ended in another way than by an exception. Called for sinks, after all else."""


EVENTS = tuple(name for name in vars(Observer) if not name.startswith("_"))
