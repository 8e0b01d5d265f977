"""The curve as text, for a terminal: points, fit, pick and band in characters, with a key below."""

from __future__ import annotations

import codecs
import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from rich.cells import cell_len, set_cell_size
from rich.color import ColorSystem
from rich.style import Style

from lrfinder.formatting import format_loss, format_lr
from lrfinder.records import Chart, Fit, Pick, Point, Spacing, Status, SweepResult
from lrfinder.report.canvas import SHADES, canvas, in_ascii, render
from lrfinder.report.figure import headline, subtitle, trial_runs
from lrfinder.report.layers import trains_between, use_rate
from lrfinder.report.ticks import loss_ticks, rate_ticks
from lrfinder.report.window import Window, lowest, points, run_ends, window_of

SMALLEST_WIDTH = 40  # characters: below, tick labels and key leave no room for a curve
SMALLEST_HEIGHT = 14  # lines, of which the key may take seven
MOST_TITLE_LINES = 3
MOST_REASON_LINES = 3
LOSS_TICKS = 5  # at most; a terminal has some twenty lines
TICK_ROOM = 8  # characters for a label such as 3.1e-05 on the axis of rates, and a space

BLUE, ORANGE, GREEN, MAGENTA, RED, GRAY = SHADES


@dataclass(frozen=True, slots=True)
class Mark:
    """What a thing is drawn with: a character, or plotext's name for finer ones; `key` stands for it in the key."""

    character: str
    ascii: str  # if the output can't show the character
    color: int
    key: str = ""  # if it differs from the character

    def in_ascii(self) -> Mark:
        """Return the mark for an output that can't show more."""
        return Mark(self.ascii, self.ascii, self.color)


MEASURED: Final = Mark("·", ".", GRAY)
FIT: Final = Mark("braille", "*", BLUE, key="⠤")
LOWEST: Final = Mark("o", "o", BLUE)
PICK: Final = Mark("│", "|", ORANGE)
UNCERTAIN: Final = Mark("┊", ":", ORANGE)
BAND: Final = Mark("━", "=", GREEN)
ABOVE: Final = Mark("^", "^", GRAY)
BELOW: Final = Mark("v", "v", GRAY)
BROKEN: Final = Mark("x", "x", RED)
RUN: Final = Mark("◆", "#", MAGENTA)


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Points drawn with one mark, joined by lines or not."""

    mark: Mark
    label: str  # in the key
    lrs: Sequence[float]
    losses: Sequence[float]
    joined: bool = False


def terminal_plot(chart: Chart, *, width: int, height: int, color: bool = True, encoding: str = "utf-8") -> str:
    """Return the plot as at most `height` lines of at most `width` characters.

    `encoding` is that of the output: if it isn't UTF-8, the plot is plain ASCII. Without `color` there is no
    escape code in the text. Raises ValueError for a plot under 40 x 14.
    """
    if width < SMALLEST_WIDTH or height < SMALLEST_HEIGHT:
        smallest = f"{SMALLEST_WIDTH} x {SMALLEST_HEIGHT}"
        raise ValueError(f"width and height must be at least {smallest} characters, got {width} x {height}")
    result, reason = chart.result, chart.refusal
    unicode = codecs.lookup(encoding).name == "utf-8"
    head = _title(result, width, lines=MOST_TITLE_LINES if height > SMALLEST_HEIGHT else 1)
    if reason is not None:
        text = f"No rate recommended: {reason}"
        head += textwrap.wrap(text, width, max_lines=MOST_REASON_LINES, placeholder=" ...")
    window = window_of(result, chart.fit)
    series = [] if window is None else _series(chart, window)
    spacing = result.settings.spacing
    return plot_text(series, window, spacing, head, width=width, height=height, color=color, unicode=unicode)


def plot_text(
    series: Sequence[Series],
    window: Window | None,
    spacing: Spacing,
    head: Sequence[str],
    *,
    width: int,
    height: int,
    color: bool,
    unicode: bool,
) -> str:
    """Return the lines of `head`, and below them the plot of `series` with its key; without a window, that is said."""
    if window is None:
        body = ["No finite loss was measured."]
    else:
        if not unicode:
            series = [replace(one, mark=one.mark.in_ascii()) for one in series]
        key = _key(series, width, color=color)
        body = render(_plotted(series, window, spacing, width, height - len(head) - len(key)), color=color) + key
    text = "\n".join([*head, *body])
    return text if unicode else in_ascii(text)


def _title(result: SweepResult, width: int, *, lines: int) -> list[str]:
    """Return the title in one line if it fits; else, in at most `lines`, what was measured stands below the model."""
    first, second = headline(result), subtitle(result)
    whole = f"{first}: {second}"
    if lines == 1 or cell_len(" ".join(whole.split())) <= width:
        return [_cut(whole, width)]
    return [_cut(first, width), *textwrap.wrap(second, width, max_lines=lines - 1, placeholder=" ...")]


def _series(chart: Chart, window: Window) -> list[Series]:
    """Return what is drawn, what lies on top last."""
    result, fit, pick, band = chart.result, chart.fit, chart.pick, chart.band
    bottom, top = window.loss_low, window.loss_high
    series = dots(points(result), window, "sweep")
    if band is not None:
        ends = [min(max(end, window.lr_low), window.lr_high) for end in (band.low, band.high)]
        series.append(Series(mark=BAND, label=trains_between(band), lrs=ends, losses=[bottom, bottom], joined=True))
    if fit is not None:
        series += _fit_series(fit, window)
    stopped = [end for end in run_ends(result) if end[1] <= top]
    lrs, losses = [end[0] for end in stopped], [end[1] for end in stopped]
    series.append(Series(mark=RUN, label=trial_runs(result), lrs=lrs, losses=losses))
    if pick is not None and pick.lr is not None:
        series.append(_pick_series(pick, pick.lr, window))
    return [one for one in series if one.lrs]


def dots(measured: Sequence[Point], window: Window, label: str) -> list[Series]:
    """Return measurements as points, and as marks at the edges where they are out of view."""
    bottom, top = window.loss_low, window.loss_high
    shown = [p for p in measured if window.shows(p.loss)]
    above = [p.lr for p in measured if p.loss > top and p.loss != math.inf]
    below = [p.lr for p in measured if p.loss < bottom and p.loss != -math.inf]
    broken = [p.lr for p in measured if not math.isfinite(p.loss)]
    return [
        Series(mark=MEASURED, label=label, lrs=[p.lr for p in shown], losses=[p.loss for p in shown]),
        Series(mark=ABOVE, label="above the plot", lrs=above, losses=[top] * len(above)),
        Series(mark=BELOW, label="below the plot", lrs=below, losses=[bottom] * len(below)),
        Series(mark=BROKEN, label="not finite", lrs=broken, losses=[top] * len(broken)),
    ]


def _pick_series(pick: Pick, lr: float, window: Window) -> Series:
    label = use_rate(lr, pick.status)
    if pick.low is not None and pick.high is not None:
        label += f", between {format_lr(pick.low)} and {format_lr(pick.high)}"
    mark = PICK if pick.status is Status.CONFIDENT else UNCERTAIN
    return Series(mark=mark, label=label, lrs=[lr, lr], losses=[window.loss_low, window.loss_high], joined=True)


def _fit_series(fit: Fit, window: Window) -> list[Series]:
    # Points out of view are left out: plotext would walk every cell of the way to them.
    inside = [
        (lr, y)
        for lr, y in zip(fit.lrs, fit.losses, strict=True)
        if window.lr_low <= lr <= window.lr_high and window.loss_low <= y <= window.loss_high
    ]
    at, level = lowest(fit)
    label = f"lowest {format_loss(level)} at {format_lr(at)}"
    return [
        Series(mark=FIT, label="fit", lrs=[p[0] for p in inside], losses=[p[1] for p in inside], joined=True),
        Series(mark=LOWEST, label=label, lrs=[at], losses=[level]),
    ]


def _plotted(series: Iterable[Series], window: Window, spacing: Spacing, width: int, height: int) -> Any:
    import plotext

    figure = canvas(width, height)
    position = float if spacing is Spacing.LINEAR else math.log10
    for one in series:
        marker = plotext.marker(one.mark.character, plotext.pixel(one.mark.color))
        signal = figure.signal([position(lr) for lr in one.lrs], list(one.losses), marker=marker)
        figure.draw(signal.lines(one.joined))
    x = figure.ruler("x", "lower")
    x.lim(position(window.lr_low), position(window.lr_high))
    rates = rate_ticks(window, spacing, most=width // TICK_ROOM)
    x.ticks([position(lr) for lr, _ in rates], [label for _, label in rates])
    y = figure.ruler("y", "left")
    y.lim(window.loss_low, window.loss_high)
    losses = loss_ticks(window, most=LOSS_TICKS)
    y.ticks([loss for loss, _ in losses], [label for _, label in losses])
    return figure


def _key(series: Sequence[Series], width: int, *, color: bool) -> list[str]:
    """Return the lines that say what each mark is, what matters most first, as few as hold them."""
    lines: list[list[tuple[Mark, str]]] = [[]]
    for mark, text in dict.fromkeys((one.mark, one.label) for one in reversed(series) if one.label):
        label = _cut(text, width - 2)
        if lines[-1] and sum(len(each) + 4 for _, each in [*lines[-1], (mark, label)]) > width:
            lines.append([])
        lines[-1].append((mark, label))
    return ["  ".join(f"{_colored(mark, color=color)} {label}" for mark, label in line) for line in lines]


def _colored(mark: Mark, *, color: bool) -> str:
    style = Style.parse(f"color({mark.color})")
    character = mark.key or mark.character
    return style.render(character, color_system=ColorSystem.EIGHT_BIT) if color else character


def _cut(text: str, width: int) -> str:
    """Cut a line to `width` cells of the terminal; a Chinese character takes two."""
    text = " ".join(text.split())
    return text if cell_len(text) <= width else set_cell_size(text, width - 3).rstrip() + "..."
