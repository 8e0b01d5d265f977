"""Progress of a sweep on standard error: a live line on a terminal, a few log lines elsewhere, or nothing."""

from __future__ import annotations

import functools
import math
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Concatenate, ParamSpec, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from lrfinder.engine.observer import Observer
from lrfinder.formatting import format_count, format_duration, format_interval, format_loss, format_lr
from lrfinder.options import STOP_TEXT
from lrfinder.records import Inspection, Mode, Point, RunPlan, Setup, ShortRun, Stop, SweepSettings, Trace
from lrfinder.report.console import stderr_console
from lrfinder.report.inspection import inspection_facts

REFRESH_S = 0.1  # ten times a second looks live; a terminal is slow to write to, and an update is not
FIRST_UPDATES = 5  # after which the time to come is told
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
    """Show a sweep while it runs; an observer of the sweep, and a context manager.

    On an interactive `console` (None: standard error) a line with a bar is redrawn at most ten times a second, by
    the sweep's own thread: a second thread would not survive the fork of a loader worker. Elsewhere a line is
    written when a repeat starts, when it ends, and every 30 s. `quiet` shows nothing. `clock` returns seconds.
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
        self._live = _live_line(self._console) if self._console is not None and self._console.is_interactive else None
        self._task: TaskID | None = None
        self._began = self._repeat_began = self._drawn = clock()
        self._measured = 0  # over all repeats
        self._first_measured = self._began
        parts = [part for part in (settings, settings.short()) if part is not None]
        self._planned = sum(part.repeats * part.steps for part in parts)
        self._best: Point | None = None
        self._what = "repeat"
        self._runs = 0
        self._run: RunPlan | None = None
        self._repeat: int | None = None
        self._of_repeat = 0

    def __enter__(self) -> Self:
        self._began = self._clock()
        if self._live is not None:
            self._live.start()
        return self

    @_for_readers
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    @_for_readers
    def repeat_started(self, repeat: int) -> None:
        """Begin repeat number `repeat`, counted from 0."""
        now = self._clock()
        if repeat == self._repeat:  # it begins again
            self._measured -= self._of_repeat
        self._repeat, self._of_repeat = repeat, 0
        self._repeat_began = now
        self._best = None
        if self._live is not None:
            if self._task is not None:
                self._live.remove_task(self._task)
            self._task = self._live.add_task(
                self._name(repeat), total=self._settings.steps, update_of=f"0/{self._settings.steps}", facts="starting"
            )
        else:
            low, high = self._settings.min_lr, self._settings.max_lr
            self._say(
                f"{self._name(repeat)}: {format_count(self._settings.steps, 'update')}, "
                f"rates {format_interval(low, high)}"
            )
        self._drawn = now

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
        self._of_repeat += 1
        if math.isfinite(point.loss) and (self._best is None or point.loss < self._best.loss):
            self._best = point
        if self._console is None:
            return
        now = self._clock()
        if self._measured == 1:
            self._first_measured = now
        if self._measured == FIRST_UPDATES and self._live is None:
            left = (self._planned - FIRST_UPDATES) * (now - self._first_measured) / (FIRST_UPDATES - 1)
            others = format_count(self._planned - FIRST_UPDATES, "update")
            after = "" if self._settings.mode is Mode.CONTINUOUS else ", and trial runs after them"
            self._say(f"about {format_duration(left)} for the other {others}{after}")
        if now - self._drawn < (LOG_EVERY_S if self._live is None else REFRESH_S):
            return
        self._drawn = now
        done = point.step + 1
        if self._live is not None and self._task is not None:
            facts = f"{self._facts(point)} {self._time_left(now)}"
            position = f"{done}/{self._settings.steps}"
            self._live.update(self._task, completed=done, update_of=position, facts=facts, refresh=True)
        else:
            place = f"{self._name(point.repeat)}: update {done} of {self._settings.steps}"
            self._say(f"{place}, {self._facts(point)}, {self._time_left(now)}")

    @_for_readers
    def repeat_ended(self, trace: Trace) -> None:
        """End a repeat: one line that stays says how far it came, why it stopped, and its lowest loss."""
        self._planned -= self._settings.steps - len(trace.lrs)
        seconds = format_duration(max(0.0, self._clock() - self._repeat_began))
        of = f"{len(trace.lrs)} of {format_count(self._settings.steps, 'update')}"
        line = f"{self._name(trace.repeat)}: {of} in {seconds}"
        if self._best is not None:
            line += f", lowest loss {format_loss(self._best.loss)} at rate {format_lr(self._best.lr)}"
        self._say(f"{line}{_skips(trace.skipped)}; {_ending(trace)}")

    @_for_readers
    def run_started(self, plan: RunPlan) -> None:
        """Begin a short run."""
        if plan is not self._run:  # else it begins again
            self._runs += 1
        self._run = plan
        self._repeat_began = self._clock()
        if self._live is not None:
            if self._task is not None:
                self._live.remove_task(self._task)
            facts = f"rate {format_lr(plan.lr)} starting"
            self._task = self._live.add_task(
                f"run {self._runs}", total=plan.steps, update_of=f"0/{plan.steps}", facts=facts
            )

    @_for_readers
    def run_updated(self, plan: RunPlan, updates: int, loss: float) -> None:
        """Draw a short run's update, if it is time to."""
        if self._console is None:
            return
        now = self._clock()
        if now - self._drawn < (LOG_EVERY_S if self._live is None else REFRESH_S):
            return
        self._drawn = now
        facts = f"rate {format_lr(plan.lr)} loss {format_loss(loss)}"
        if self._live is not None and self._task is not None:
            position = f"{updates}/{plan.steps}"
            self._live.update(self._task, completed=updates, update_of=position, facts=facts, refresh=True)
        else:
            self._say(f"run {self._runs}: update {updates} of {plan.steps}, {facts}")

    @_for_readers
    def run_ended(self, run: ShortRun) -> None:
        """End a short run: one line that stays says its rate and what it reached."""
        seconds = format_duration(max(0.0, self._clock() - self._repeat_began))
        what = (
            f"run {self._runs}: rate {format_lr(run.plan.lr)}, {format_count(run.updates, 'update')} in {seconds}"
            f"{_skips(run.skipped)}"
        )
        if run.loss is not None:
            self._say(f"{what}, {run.judged_by} {format_loss(run.loss)}")
        else:
            self._say(f"{what}; {run.why or STOP_TEXT[run.stop]}")

    def fall_silent(self) -> None:
        """Show nothing from now on."""
        self._console = self._live = None

    def _name(self, repeat: int) -> str:
        return f"{self._what} {repeat + 1} of {self._settings.repeats}"

    def _facts(self, point: Point) -> str:
        best = format_loss(self._best.loss) if self._best is not None else "-"
        return f"rate {format_lr(point.lr)} loss {format_loss(point.loss)} best {best}"

    def _time_left(self, now: float) -> str:
        """Estimate the seconds left, all repeats and short sweeps included, from the mean time of an update so far."""
        left = (self._planned - self._measured) * (now - self._began) / self._measured
        return f"{format_duration(max(0.0, left))} left"

    def _say(self, line: str) -> None:
        if self._console is not None:
            # In a log a line stays one line, however narrow the console believes itself to be.
            self._console.print(Text(line), soft_wrap=self._live is None)


def _skips(number: int) -> str:
    return f", {number} skipped by the loss scaler" if number else ""


def _ending(trace: Trace) -> str:
    reason = STOP_TEXT[trace.stop]
    if trace.stop is Stop.COMPLETED or not trace.lrs:
        return reason
    return f"stopped at rate {format_lr(trace.lrs[-1])}: {trace.why or reason}"


def _live_line(console: Console) -> Progress:
    def whole(text: str) -> TextColumn:
        return TextColumn(text, markup=False, table_column=Column(no_wrap=True))

    return Progress(
        whole("{task.description}"),
        BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=4)),
        whole("{task.fields[update_of]}"),
        whole("{task.fields[facts]}"),
        console=console,
        auto_refresh=False,  # no thread; `measured` draws
        transient=True,
        expand=True,
        # What the user's code prints goes above the line; but piped output must stay on standard output.
        redirect_stdout=sys.stdout.isatty(),
    )
