"""A sweep while it runs, on a terminal: the curve as it grows, and one bar for the whole."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column
from rich.text import Text

from lrfinder.records import Point, SweepSettings
from lrfinder.report.terminal_plot import ABOVE, FIT, RUN, SMALLEST_WIDTH, Series, dots, plot_text
from lrfinder.report.window import Window, is_shown, live_window, thinned

WIDEST = 100  # characters
HEIGHT = 12  # lines of the plot
OTHER_LINES = 4  # of the terminal, without which the plot is left out
MOST_POINTS = 200  # that are drawn of each kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What is known of a sweep, or of trials, at one moment.

    `done` of `planned` updates are made. `points` are the losses of the part that runs, `earlier` those of the parts
    before it, `ends` the rates and losses of the trial runs.
    """

    part: str
    done: int
    planned: int
    facts: str
    settings: SweepSettings
    points: Sequence[Point]
    earlier: Sequence[Point]
    ends: Sequence[tuple[float, float]]

    @property
    def window(self) -> Window | None:
        """The rates and losses in view; None if there is nothing to draw."""
        return live_window(self.settings, [point.loss for point in (*self.earlier, *self.points)], self.ends)


class View(Protocol):
    """Shows frames."""

    def start(self) -> None:
        """Begin."""

    def draw(self, frame: Frame) -> None:
        """Show a frame in place of the one before."""

    def say(self, line: str) -> None:
        """Show a line that stays."""

    def stop(self, frame: Frame) -> None:
        """End; `frame` is the last one."""


class TerminalView:
    """Redraws a few lines at the bottom of a terminal; they are gone at the end.

    It draws in the thread that asks for it: a second one would not survive the fork of a loader worker.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            _whole("{task.description}"),
            BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=4)),
            _whole("{task.fields[update_of]}"),
            _whole("{task.fields[facts]}"),
            console=console,
            auto_refresh=False,
            expand=True,
        )
        self._task = self._bar.add_task("starting", total=None, update_of="", facts="")
        # What the user's code prints goes above the lines; but piped output must stay on standard output.
        self._live = Live(
            self._bar, console=console, auto_refresh=False, transient=True, redirect_stdout=sys.stdout.isatty()
        )

    def start(self) -> None:
        """Hide the cursor and draw the bar."""
        import plotext  # noqa: F401 - loaded now, not while updates are timed

        self._live.start()

    def draw(self, frame: Frame) -> None:
        """Draw plot and bar, by one write."""
        position = f"{frame.done}/{frame.planned}"
        self._bar.update(
            self._task,
            description=frame.part,
            completed=frame.done,
            total=frame.planned,
            update_of=position,
            facts=frame.facts,
        )
        plot = self._plot(frame)
        parts = [self._bar] if plot is None else [Text.from_ansi(plot), self._bar]
        # The cursor waits on a line of its own: at the end of a full line, ^C would begin another one.
        self._live.update(Group(*parts, ""), refresh=True)

    def say(self, line: str) -> None:
        """Write a line above."""
        self._console.print(Text(line))

    def stop(self, frame: Frame) -> None:  # noqa: ARG002 - the answer follows
        """Remove the lines and give the cursor back."""
        self._live.stop()

    def _plot(self, frame: Frame) -> str | None:
        window = frame.window
        width = min(self._console.width, WIDEST)
        if window is None or width < SMALLEST_WIDTH or self._console.height < HEIGHT + OTHER_LINES:
            return None
        return plot_text(
            _series(frame, window),
            window,
            frame.settings.spacing,
            (),
            width=width,
            height=HEIGHT,
            color=self._console.color_system is not None and not self._console.no_color,
            unicode=codecs.lookup(self._console.encoding).name == "utf-8",
        )


def _series(frame: Frame, window: Window) -> list[Series]:
    drawn = thinned(frame.points, MOST_POINTS)
    inside = [point for point in drawn if window.shows(point.loss)]
    ends = [(lr, min(loss, window.loss_high)) for lr, loss in frame.ends if is_shown(loss)]
    series = [
        *dots(thinned(frame.earlier, MOST_POINTS), window, "repeats before"),
        *(one for one in dots(drawn, window, "") if one.mark is ABOVE),
        Series(mark=FIT, label="loss", lrs=[p.lr for p in inside], losses=[p.loss for p in inside], joined=True),
        Series(mark=RUN, label="trial runs", lrs=[lr for lr, _ in ends], losses=[loss for _, loss in ends]),
    ]
    return [one for one in series if one.lrs]


def _whole(text: str) -> TextColumn:
    return TextColumn(text, markup=False, table_column=Column(no_wrap=True))
