"""Progress of a sweep on standard error: the growing curve on a terminal, a few log lines elsewhere, or nothing."""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Callable
from types import TracebackType
from typing import Concatenate, ParamSpec, Self

from rich.console import Console
from rich.text import Text

from lrfinder.engine.observer import Observer
from lrfinder.formatting import format_count, format_duration, format_interval, format_loss, format_lr
from lrfinder.options import LEAST_TRIALS, STOP_TEXT
from lrfinder.records import Inspection, Mode, Point, RunPlan, Setup, ShortRun, Stop, SweepSettings, Trace
from lrfinder.report.console import stderr_console
from lrfinder.report.inspection import inspection_facts
from lrfinder.report.live import Frame, TerminalView, View

REFRESH_S = 0.25  # four times a second looks live
LARGEST_SHARE = 0.03  # of the time, that drawing takes
FIRST_UPDATES = 5  # after which the time to come is told
SHORTEST_S = 0.05  # is told as 0.1 s
LOG_EVERY_S = 30.0  # off a terminal, a slow sweep still shows a sign of life; CI systems end silent jobs


_P = ParamSpec("_P")
_Event = Callable[Concatenate["SweepProgress", _P], None]


def _for_readers(show: _Event[_P]) -> _Event[_P]:
    """Let the sweep go on silently if standard error can't be written any more, such as after a terminal was closed."""

    @functools.wraps(show)
    def show_or_fall_silent(self: SweepProgress, /, *args: _P.args, **keywords: _P.kwargs) -> None:
        try:
            show(self, *args, **keywords)
        except OSError:
            self.fall_silent()

    return show_or_fall_silent


class SweepProgress(Observer):
    """Show a sweep, or trials, while they run; an observer of them, and a context manager.

    On an interactive `console` (None: standard error), and in a notebook, the curve and a bar are redrawn: at most four
    times a second, and for LARGEST_SHARE of the time. Elsewhere a line is written when a part starts, when it ends, and
    every 30 s. `quiet` shows nothing. `clock` returns seconds.
    """

    def __init__(
        self,
        settings: SweepSettings,
        *,
        quiet: bool = False,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._console = None if quiet else console or stderr_console()
        self._view = None if self._console is None else _view(self._console)
        self._pause = LOG_EVERY_S if self._view is None else REFRESH_S
        self._began = self._part_began = self._drawn = clock()
        self._measured = 0  # updates of the sweep, over all repeats
        parts = [part for part in (settings, settings.short()) if part is not None]
        self._planned = 0 if settings.mode is Mode.RESTART else sum(part.repeats * part.steps for part in parts)
        self._swept = self._planned  # of these, what the repeats take
        if settings.mode is not Mode.CONTINUOUS:
            self._planned += LEAST_TRIALS * settings.run_steps
        self._done = self._of_part = 0  # updates of what has ended, and of what runs
        self._part_steps = 0  # which that is to make
        self._points: list[Point] = []
        self._earlier: list[Point] = []
        self._ends: list[tuple[float, float]] = []
        self._best: Point | None = None
        self._what, self._part = "repeat", "starting"
        self._runs = 0
        self._run: RunPlan | None = None
        self._repeat: int | None = None

    def __enter__(self) -> Self:
        if self._view is not None:
            self._view.start()
        return self

    @_for_readers
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._view is not None:
            self._view.stop(self._frame(""))

    def resumed(self, traces: tuple[Trace, ...], short_sweeps: tuple[Trace, ...], runs: tuple[ShortRun, ...]) -> None:
        """Count what was made before: it isn't still to come."""
        short = self._settings.short()
        kept = len(traces) * self._settings.steps + len(short_sweeps) * (0 if short is None else short.steps)
        self._swept -= kept
        self._planned -= kept + min(len(runs), LEAST_TRIALS) * self._settings.run_steps
        self._runs = len(runs)

    @_for_readers
    def repeat_started(self, repeat: int) -> None:
        """Begin repeat number `repeat`, counted from 0."""
        if repeat == self._repeat:  # it begins again
            self._measured -= self._of_part
            self._points.clear()
        self._earlier += self._points
        self._points = []
        self._repeat, self._best = repeat, None
        self._begin(f"{self._what} {repeat + 1} of {self._settings.repeats}", self._settings.steps)
        if self._view is None:
            low, high = self._settings.min_lr, self._settings.max_lr
            self._say(
                f"{self._part}: {format_count(self._settings.steps, 'update')}, rates {format_interval(low, high)}"
            )

    def short_sweeps_started(self, settings: SweepSettings) -> None:
        """Count the short sweeps that follow."""
        self._settings, self._what, self._repeat = settings, "short sweep", None

    @_for_readers
    def prepared(self, setup: Setup) -> None:
        """Say what is being swept: how the loss and the optimizer were found is worth a look before the numbers."""
        optimizer = setup.optimizer
        chosen = "" if optimizer.chosen_by == "model file" else f" ({optimizer.chosen_by})"
        recorded = "" if setup.graph is None else "; updates recorded"
        if setup.graph:
            recorded = f"; updates not captured: {setup.graph}"
        what = f"{setup.model}, {setup.parameters:,} parameters, on {setup.device}"
        self._say(f"{what}; loss: {setup.loss}; optimizer: {optimizer.name}{chosen}{recorded}")

    @_for_readers
    def inspected(self, inspection: Inspection) -> None:
        """Say what the first batch shows."""
        self._say("; ".join(inspection_facts(inspection)))

    @_for_readers
    def measured(self, point: Point) -> None:
        """Take in one measurement; drawn only if the last drawing was long enough ago."""
        self._measured += 1
        self._of_part += 1
        if math.isfinite(point.loss) and (self._best is None or point.loss < self._best.loss):
            self._best = point
        if self._console is None:
            return
        self._points.append(point)
        now = self._clock()
        if self._done + self._of_part == 1:
            self._began = now  # what came before the first update of all loads and builds
        if self._measured == FIRST_UPDATES and self._view is None:
            left = (self._swept - FIRST_UPDATES) * (now - self._began) / (FIRST_UPDATES - 1)
            others = format_count(self._swept - FIRST_UPDATES, "update")
            after = "" if self._settings.mode is Mode.CONTINUOUS else ", and trial runs after them"
            self._say(f"about {format_duration(left)} for the other {others}{after}")
        if now - self._drawn >= self._pause:
            best = format_loss(self._best.loss) if self._best is not None else "-"
            facts = f"rate {format_lr(point.lr)} loss {format_loss(point.loss)} best {best}"
            self._show(now, f"update {point.step + 1} of {self._settings.steps}", facts)

    @_for_readers
    def repeat_ended(self, trace: Trace) -> None:
        """End a repeat: in a log, a line says how far it came, why it stopped, and its lowest loss."""
        self._swept -= self._settings.steps - len(trace.lrs)
        self._end(len(trace.lrs))
        if self._view is not None:
            return
        of = f"{len(trace.lrs)} of {format_count(self._settings.steps, 'update')}"
        line = f"{self._part}: {of}{self._took()}"
        if self._best is not None:
            line += f", lowest loss {format_loss(self._best.loss)} at rate {format_lr(self._best.lr)}"
        self._say(f"{line}{_skips(trace.skipped)}; {_ending(trace)}")

    def runs_planned(self, updates: int) -> None:
        """Take in how many updates the trials may take."""
        self._planned = self._done + updates

    @_for_readers
    def run_started(self, plan: RunPlan) -> None:
        """Begin a trial run."""
        if plan is not self._run:  # else it begins again
            self._runs += 1
        self._run = plan
        self._earlier += self._points
        self._points = []
        self._begin(f"trial run {self._runs}", plan.steps)

    @_for_readers
    def run_updated(self, plan: RunPlan, updates: int, loss: float) -> None:
        """Draw a trial run's update, if it is time to."""
        self._of_part = updates
        if self._console is None:
            return
        now = self._clock()
        if self._done + self._of_part == 1:
            self._began = now
        if now - self._drawn >= self._pause:
            facts = f"rate {format_lr(plan.lr)} loss {format_loss(loss)}"
            self._show(now, f"update {updates} of {plan.steps}", facts)

    @_for_readers
    def run_ended(self, run: ShortRun) -> None:
        """End a trial run: in a log, a line says its rate and what it reached."""
        self._end(run.updates)
        if run.loss is not None:
            self._ends.append((run.plan.lr, run.loss))
        if self._view is not None:
            return
        what = (
            f"{self._part}: rate {format_lr(run.plan.lr)}, {format_count(run.updates, 'update')}{self._took()}"
            f"{_skips(run.skipped)}"
        )
        if run.loss is not None:
            self._say(f"{what}, {run.judged_by} {format_loss(run.loss)}")
        else:
            self._say(f"{what}; {run.why or STOP_TEXT[run.stop]}")

    def fall_silent(self) -> None:
        """Show nothing from now on."""
        self._console = self._view = None

    def _begin(self, part: str, steps: int) -> None:
        self._part, self._part_steps, self._of_part = part, steps, 0
        self._part_began = self._clock()
        if self._view is None:
            self._drawn = self._part_began

    def _end(self, updates: int) -> None:
        self._done += updates
        self._planned -= self._part_steps - updates
        self._part_steps = self._of_part = 0

    def _took(self) -> str:
        """Say how long a part took; nothing of one that was made elsewhere, and is only told of now."""
        seconds = self._clock() - self._part_began
        return f" in {format_duration(seconds)}" if seconds >= SHORTEST_S else ""

    def _show(self, now: float, place: str, facts: str) -> None:
        """Draw, or write a line of the log."""
        frame = self._frame(facts)
        took = now - self._began
        if frame.done >= FIRST_UPDATES or took >= LOG_EVERY_S:  # the very first updates are slower
            left = (frame.planned - frame.done) * took / max(1, frame.done - 1)
            facts += f"{',' if self._view is None else ''} {format_duration(left)} left"
        if self._view is None:
            self._say(f"{self._part}: {place}, {facts}")
        else:
            self._view.draw(dataclasses.replace(frame, facts=facts))
            self._pause = max(REFRESH_S, (self._clock() - now) / LARGEST_SHARE)
        self._drawn = self._clock()

    def _frame(self, facts: str) -> Frame:
        done = self._done + self._of_part
        return Frame(
            part=self._part,
            done=done,
            planned=max(self._planned, self._done + self._part_steps),  # there may be more trial runs than planned
            facts=facts,
            settings=self._settings,
            points=self._points,
            earlier=self._earlier,
            ends=self._ends,
        )

    def _say(self, line: str) -> None:
        if self._view is not None:
            self._view.say(line)
        elif self._console is not None:
            self._console.print(Text(line), soft_wrap=True)  # in a log a line stays one, whatever the console's width


def _skips(number: int) -> str:
    return f", {number} skipped by the loss scaler" if number else ""


def _ending(trace: Trace) -> str:
    reason = STOP_TEXT[trace.stop]
    if trace.stop is Stop.COMPLETED or not trace.lrs:
        return reason
    return f"stopped at rate {format_lr(trace.lrs[-1])}: {trace.why or reason}"


def _view(console: Console) -> View | None:
    if console.is_jupyter:
        from lrfinder.report.notebook import NotebookView

        return NotebookView()
    return TerminalView(console) if console.is_interactive else None
