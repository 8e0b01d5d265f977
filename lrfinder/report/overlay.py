"""The curves of several runs over each other, with their picks: in text for a terminal, and as a PNG."""

from __future__ import annotations

import codecs
import io
import textwrap
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Final

from lrfinder.advice.answer import RunAnswer
from lrfinder.errors import visible
from lrfinder.records import MIN_LR, Pick, Spacing, Status
from lrfinder.report import layers, style
from lrfinder.report.canvas import SHADES
from lrfinder.report.layers import use_rate
from lrfinder.report.terminal_plot import SMALLEST_HEIGHT, Mark, Series, plot_text
from lrfinder.report.window import Window, run_ends, start_loss, window_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from lrfinder.advice.comparison import Comparison

SHARE_LOW, SHARE_HIGH = -0.1, 1.3  # in view if each curve is drawn as a share of its own fall
LETTERS: Final = "*o+x#@abcdefghijklmnpqrstuvwyz"
COLORS: Final = (style.BLUE, style.VERMILION, style.GREEN, style.RUN, style.GRAY, style.INK)
DASHES: Final = ("-", "--", ":", "-.")
WIDTH_IN, HEIGHT_IN, DPI = 8.0, 5.0, 100
LONGEST_LABEL = 60
ROW = 0.035  # of the axes' height: between the intervals of two picks


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlayLine:
    """A run's curve (its fit; without one the ends of its trial runs), and its pick."""

    name: str
    lrs: tuple[float, ...]
    losses: tuple[float, ...]
    pick: Pick

    @property
    def label(self) -> str:
        """The name, and what to do."""
        pick = self.pick
        return f"{visible(self.name)}: {'no pick' if pick.lr is None else use_rate(pick.lr, pick.status)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """Curves on common axes; without a `window` nothing can be drawn. `shares`: each curve runs from 1 to 0."""

    lines: tuple[OverlayLine, ...]
    window: Window | None
    spacing: Spacing
    shares: bool

    def points(self, line: OverlayLine) -> list[tuple[float, float]]:
        """Return rates and losses of a line within the rates in view; far off losses are cut to one height beyond."""
        if self.window is None:
            return []
        low, high = self.window.loss_low, self.window.loss_high
        return [
            (lr, min(max(loss, 2 * low - high), 2 * high - low))
            for lr, loss in zip(line.lrs, line.losses, strict=True)
            if self.window.lr_low <= lr <= self.window.lr_high
        ]

    @property
    def loss_label(self) -> str:
        """What the axis of losses shows."""
        return "loss, as a share of the curve's own fall" if self.shares else "loss"


def overlay_of(comparison: Comparison) -> Overlay:
    """Return the overlay: of the losses themselves if they may be compared, else of each as a share of its own fall."""
    shares = not comparison.losses_comparable
    windows = [
        w
        for run in comparison.runs
        if (w := window_of(run.result, run.advice.fit, with_runs=run.advice.fit is None)) is not None
    ]
    linear = all(run.result.settings.spacing is Spacing.LINEAR for run in comparison.runs)
    window = None
    if windows:
        window = Window(
            lr_low=min([w.lr_low for w in windows if linear or w.lr_low > 0] or [MIN_LR]),
            lr_high=max(w.lr_high for w in windows),
            loss_low=SHARE_LOW if shares else min(w.loss_low for w in windows),
            loss_high=SHARE_HIGH if shares else max(w.loss_high for w in windows),
        )
    lines = tuple(_line(run, shares=shares) for run in comparison.runs)
    return Overlay(lines=lines, window=window, spacing=Spacing.LINEAR if linear else Spacing.EXP, shares=shares)


def _line(run: RunAnswer, *, shares: bool) -> OverlayLine:
    fit = run.advice.fit
    ends = run_ends(run.result)
    lrs, losses = (fit.lrs, fit.losses) if fit is not None else (tuple(e[0] for e in ends), tuple(e[1] for e in ends))
    if shares and losses:
        start, low = start_loss(run.result, fit), min(losses)
        fall = max(losses) - low if start is None else start - low
        if run.pick.lr is None:  # it may be no more than noise
            fall = max(fall, abs(start or 1.0))
            low = (start or low) - fall
        losses = tuple((loss - low) / fall if fall > 0 else 1.0 for loss in losses)
    return OverlayLine(name=run.name, lrs=lrs, losses=losses, pick=run.pick)


def overlay_text(overlay: Overlay, *, width: int, height: int, color: bool, encoding: str) -> str:
    """Return the overlay as text; curves are told apart by color, or by letters without it or if there are many.

    It is higher than `height` if the key of many runs needs that.
    """
    fine = color and len(overlay.lines) <= len(SHADES) and codecs.lookup(encoding).name == "utf-8"
    height = max(height, SMALLEST_HEIGHT + len(overlay.lines))
    unicode, window, series = codecs.lookup(encoding).name == "utf-8", overlay.window, []
    looks = zip(cycle(LETTERS), cycle(SHADES), strict=False)
    for line, (letter, shade) in zip(overlay.lines if window is not None else (), looks, strict=False):
        mark = Mark("braille" if fine else letter, letter, shade, key="\u2824" if fine else letter)
        seen = [] if window is None else [p for p in overlay.points(line) if window.shows(p[1])]
        lrs, losses = [lr for lr, _ in seen], [loss for _, loss in seen]
        series.append(Series(mark=mark, label=line.label, lrs=lrs, losses=losses, joined=len(seen) > 1))
        if window is not None and line.pick.lr is not None:
            upright = Mark("\u2502" if line.pick.status is Status.CONFIDENT else "\u250a", "|", shade)
            lr = min(max(line.pick.lr, window.lr_low), window.lr_high)
            ends = [window.loss_low, window.loss_high]
            series.append(Series(mark=upright, label="", lrs=[lr, lr], losses=ends, joined=True))
    head = textwrap.wrap(f"{overlay.loss_label} against learning rate", width)
    return plot_text(series, window, overlay.spacing, head, width=width, height=height, color=color, unicode=unicode)


def overlay_png(overlay: Overlay) -> bytes:
    """Return the overlay as a PNG of 8 x 5 inches; the same curves give the same bytes."""
    style.load_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    out = io.BytesIO()
    with style.figure_style():
        figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), dpi=DPI, facecolor="white", layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        if overlay.window is None:
            axes.set_axis_off()
            axes.text(0.5, 0.5, "No finite loss was measured.", transform=axes.transAxes, ha="center")
        else:
            axes.set_xlabel("learning rate")
            layers.rate_axis(axes, overlay.window, overlay.spacing)
            layers.loss_axis(axes, overlay.window)
            if overlay.shares:
                axes.set_ylabel("as a share of the curve's own fall")
            _lines(axes, overlay)
            figure.legend(loc="outside upper center", frameon=False, fontsize=style.SMALL_PT, ncols=2)
        figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def _lines(axes: Axes, overlay: Overlay) -> None:
    on_axis = axes.get_xaxis_transform()
    looks = zip(cycle(COLORS), cycle(DASHES), strict=False)
    for row, (line, (color, dashes)) in enumerate(zip(overlay.lines, looks, strict=False)):
        seen, pick, y = overlay.points(line), line.pick, ROW * (row + 1)
        label = style.with_known_glyphs(style.shortened(line.label, LONGEST_LABEL))
        axes.plot([lr for lr, _ in seen], [loss for _, loss in seen], color=color, ls=dashes, lw=2.2, label=label)
        sure = pick.status is Status.CONFIDENT
        if pick.lr is not None:
            axes.axvline(pick.lr, color=color, lw=1.2, ls="-" if sure else (0, (4, 3)))
            axes.plot(pick.lr, y, "o", color=color, mfc=color if sure else "white", transform=on_axis, zorder=6)
        if pick.low is not None and pick.high is not None:
            axes.plot([pick.low, pick.high], [y, y], "|-", color=color, transform=on_axis, zorder=5)
