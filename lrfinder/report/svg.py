"""Where things lie in the SVG pictures of the page: plain numbers and paths, which its template draws."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lrfinder.formatting import format_loss, format_lr
from lrfinder.options import STOP_TEXT
from lrfinder.records import Band, Chart, Pick, Point, ShortRun, Spacing
from lrfinder.report.overlay import Overlay
from lrfinder.report.ticks import Ticks, loss_ticks, rate_ticks
from lrfinder.report.window import Window, is_shown, lowest, points, points_left_out, start_loss, thinned, window_of

# User units of the picture: pixels, if it is as wide as the text.
WIDTH, HEIGHT = 720.0, 360.0
LEFT, RIGHT, TOP, BOTTOM = 76.0, 708.0, 40.0, 308.0
MOST_RATE_TICKS, MOST_LOSS_TICKS = 10, 6
LINE_POINTS = 200  # of a fit: beyond, nobody sees the difference
ROOM = 3.0  # a factor, beside the lowest and the highest trial
ROOM_FOR_A_WORD = 76.0  # a part of the band that is narrower is named by its color alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A picture's axes; `window` has no points of its own."""

    window: Window
    spacing: Spacing
    rates: Ticks
    losses: Ticks

    def x(self, lr: float) -> float:
        """Return the position of a rate, kept within the axes."""
        low, high = self.window.lr_low, self.window.lr_high
        lr = min(max(lr, low), high)
        if self.spacing is not Spacing.LINEAR:
            low, high, lr = math.log(low), math.log(high), math.log(lr)
        return round(LEFT + (RIGHT - LEFT) * (lr - low) / (high - low), 1)

    def y(self, loss: float) -> float:
        """Return the position of a loss, at most one height of the axes beyond them."""
        share = (loss - self.window.loss_low) / (self.window.loss_high - self.window.loss_low)
        return round(BOTTOM - (BOTTOM - TOP) * min(max(share, -1.0), 2.0), 1)

    def line(self, lrs: Sequence[float], losses: Sequence[float]) -> str:
        """Return the path of a line."""
        corners = [(self.x(lr), self.y(loss)) for lr, loss in zip(lrs, losses, strict=True)]
        return "M" + "L".join(f"{x:g} {y:g}" for x, y in corners) if corners else ""


def loss_plot(window: Window, spacing: Spacing) -> Plot:
    """Return axes of rates and losses."""
    return Plot(
        window=window,
        spacing=spacing,
        rates=rate_ticks(window, spacing, most=MOST_RATE_TICKS),
        losses=loss_ticks(window, most=MOST_LOSS_TICKS),
    )


def dots(corners: Iterable[tuple[float, float]]) -> str:
    """Return the path of dots, which round line ends draw: a tenth of what circles take."""
    return "".join(f"M{x:g} {y:g}h0" for x, y in corners)


def curve_view(chart: Chart, most_points: int) -> dict[str, Any] | None:
    """Return what the template draws of a continuous sweep; None if no loss of one can be drawn."""
    result, fit = chart.result, chart.fit
    window, measured = window_of(result, fit, with_runs=False), points(result)
    if window is None or not measured:
        return None
    plot = loss_plot(window, result.settings.spacing)
    drawn = thinned(measured, most_points)
    inside = [point for point in drawn if window.shows(point.loss)]
    start = start_loss(result, fit)

    def at(measured: Iterable[Point]) -> str:
        return dots((plot.x(point.lr), plot.y(point.loss)) for point in measured)

    return {
        "plot": plot,
        "dots": [at(p for p in inside if p.repeat == repeat) for repeat in sorted({p.repeat for p in inside})],
        "unused": at(p for p in thinned(points_left_out(result), most_points) if window.shows(p.loss)),
        "above": dots((plot.x(p.lr), TOP + 6) for p in drawn if p.loss > window.loss_high),
        "below": dots((plot.x(p.lr), BOTTOM - 6) for p in drawn if p.loss < window.loss_low),
        "broken": dots((plot.x(p.lr), TOP + 6) for p in drawn if math.isnan(p.loss)),
        "every": math.ceil(len(measured) / most_points) or 1,
        "zones": _zones(plot, chart.band),
        "start": None if start is None or not window.shows(start) else (plot.y(start), format_loss(start)),
        "hover": [_hover(plot, p.lr, p.loss, f"repeat {p.repeat + 1}") for p in inside],
        **_fit(plot, chart),
    }


def trials_view(
    runs: Sequence[ShortRun], spacing: Spacing, pick: Pick, band: Band | None, around: Plot | None = None
) -> dict[str, Any] | None:
    """Return what the template draws of short runs, a line for each schedule and length; None if none can be drawn.

    The axis of rates is that of `around`, or as wide as the runs need.
    """
    ended = [run for run in runs if run.loss is not None and is_shown(run.loss)]
    if not ended:
        return None
    lowest_loss = min(run.loss or 0.0 for run in ended)
    start = max((run.initial_loss for run in ended if run.initial_loss is not None), default=lowest_loss)
    if start > lowest_loss:  # one that ended far above would flatten the rest
        ended = [run for run in ended if (run.loss or 0.0) <= 2 * start - lowest_loss]
    losses = [run.loss or 0.0 for run in ended]
    room = 0.15 * ((max(losses) - min(losses)) or abs(max(losses)) / 10 or 1.0)
    rates = [run.plan.lr for run in runs] + ([] if pick.lr is None else [pick.lr])
    low, high = min(rates) / ROOM, max(rates) * ROOM
    if around is not None:
        low, high = min(around.window.lr_low, low * ROOM), max(around.window.lr_high, high / ROOM)
    window = Window(lr_low=low, lr_high=high, loss_low=min(losses) - room, loss_high=max(losses) + room)
    plot = loss_plot(window, spacing)
    groups = []
    for name, steps in dict.fromkeys((run.plan.schedule, run.plan.steps) for run in ended):
        own = sorted((run.plan.lr, run.loss) for run in ended if (run.plan.schedule, run.plan.steps) == (name, steps))
        marks = [(plot.x(lr), plot.y(loss or 0.0)) for lr, loss in own]
        groups.append({"name": f"{name}, {steps} updates", "line": plot.line(*zip(*own, strict=True)), "marks": marks})
    return {
        "plot": plot,
        "zones": _zones(plot, band),
        "pick": None if pick.lr is None else plot.x(pick.lr),
        "groups": groups,
        "lost": dots((plot.x(run.plan.lr), TOP + 6) for run in runs if run not in ended),
        "hover": [_hover(plot, run.plan.lr, run.loss or 0.0, STOP_TEXT[run.stop]) for run in ended],
    }


def schedule_view(rates: Sequence[tuple[int, float]], last: int) -> dict[str, Any]:
    """Return what the template draws of a schedule, given f(t) at rising updates t up to `last`."""
    peak = max(rate for _, rate in rates)
    window = Window(lr_low=0.0, lr_high=max(float(last), 1.0), loss_low=0.0, loss_high=1.08 * peak)
    updates = sorted({(last + 1) * quarter // 4 for quarter in range(4)} | {last})
    plot = Plot(
        window=window,
        spacing=Spacing.LINEAR,
        rates=[(float(t), str(t)) for t in updates],
        losses=[(rate, format_lr(rate)) for rate in (0.0, peak / 2, peak)],
    )
    return {
        "plot": plot,
        "line": plot.line([float(t) for t, _ in rates], [rate for _, rate in rates]),
        "hover": [[plot.x(t), plot.y(rate), f"update {t}: rate {format_lr(rate)}"] for t, rate in rates],
    }


def overlay_view(overlay: Overlay) -> dict[str, Any] | None:
    """Return what the template draws of several runs; None if no loss can be drawn."""
    if overlay.window is None:
        return None
    plot = loss_plot(overlay.window, overlay.spacing)
    lines, hover = [], []
    for line in overlay.lines:
        seen = thinned(overlay.points(line), LINE_POINTS)
        x = None if line.pick.lr is None else plot.x(line.pick.lr)
        path = plot.line([lr for lr, _ in seen], [loss for _, loss in seen])
        lines.append({"label": line.label, "path": path, "pick": x, "status": line.pick.status.value})
        hover += [_hover(plot, lr, loss, line.name) for lr, loss in seen[::4] if plot.window.shows(loss)]
    return {"plot": plot, "lines": lines, "hover": hover, "label": overlay.loss_label}


def _hover(plot: Plot, lr: float, loss: float, what: str) -> list[Any]:
    return [plot.x(lr), plot.y(loss), f"rate {format_lr(lr)}: loss {format_loss(loss)} ({what})"]


def _zones(plot: Plot, band: Band | None) -> list[dict[str, Any]]:
    if band is None:
        return []
    ends = [LEFT, plot.x(band.low), plot.x(band.high), RIGHT]
    names = ("crawls", "trains", "diverges")
    return [
        {"name": name, "x": low, "width": high - low, "named": high - low >= ROOM_FOR_A_WORD}
        for name, low, high in zip(names, ends, ends[1:], strict=False)
        if high > low
    ]


def _fit(plot: Plot, chart: Chart) -> dict[str, Any]:
    """Return the fit's line and ribbon, and the pick with its interval."""
    fit, pick = chart.fit, chart.pick
    every = [] if fit is None else list(zip(fit.lrs, fit.losses, fit.low, fit.high, strict=True))
    rows = thinned([row for row in every if plot.window.lr_low <= row[0] <= plot.window.lr_high], LINE_POINTS)
    lrs, losses, low, high = zip(*rows, strict=True) if rows else ((), (), (), ())
    ribbon = plot.line([*lrs, *reversed(lrs)], [*low, *reversed(high)])
    drawn: dict[str, Any] = {"fit": plot.line(lrs, losses), "ribbon": ribbon, "pick": None, "lowest": None}
    if fit is not None:
        lr, loss = lowest(fit)
        drawn["lowest"] = (plot.x(lr), plot.y(loss), f"lowest {format_loss(loss)} at {format_lr(lr)}")
    if pick is not None and pick.lr is not None:
        x = plot.x(pick.lr)
        between = None if pick.low is None or pick.high is None else (plot.x(pick.low), plot.x(pick.high))
        anchor = "start" if x < WIDTH / 3 else "end" if x > 2 * WIDTH / 3 else "middle"
        drawn["pick"] = {"x": x, "between": between, "anchor": anchor}
    return drawn
