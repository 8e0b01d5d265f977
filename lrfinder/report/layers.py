"""The layers of the curve figure: each function draws one thing into the axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lrfinder.formatting import format_loss, format_lr
from lrfinder.records import Band, Fit, Pick, Point, Spacing, Status, SweepResult
from lrfinder.report import style
from lrfinder.report.window import Window, is_shown, lowest, points, points_left_out, run_ends

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEW_DECADES = 2.5  # below, decades alone leave fewer than three labelled ticks
ROUND_STEPS = (1, 2, 5, 10)  # between ticks, times a power of ten
LETTER = 0.0095  # of the axes' width, in small type
EDGE = 0.985  # of the axes' height: where carets sit, just inside the frame


BEHIND_TEXT = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.75}


def measurements(axes: Axes, result: SweepResult, window: Window) -> None:
    """Draw every loss as a light dot, those out of view as carets at the edge, those not finite as crosses."""
    everything = points(result)
    for repeat in sorted({point.repeat for point in everything}):
        color = style.REPEATS[repeat % len(style.REPEATS)]
        own = [point for point in everything if point.repeat == repeat]
        seen = [p for p in own if is_shown(p.loss) and window.loss_low <= p.loss <= window.loss_high]
        axes.plot(
            [p.lr for p in seen], [p.loss for p in seen], "o", color=color, ms=3.4, mew=0, alpha=0.5, zorder=2,
            gid=f"repeat-{repeat}",
        )  # fmt: skip
        above = [p for p in own if p.loss > window.loss_high and p.loss != math.inf]
        below = [p for p in own if p.loss < window.loss_low and p.loss != -math.inf]
        _at_edge(axes, above, marker="^", y=EDGE, color=color, gid=f"above-{repeat}")
        _at_edge(axes, below, marker="v", y=1 - EDGE, color=color, gid=f"below-{repeat}")
    broken = [point for point in everything if not math.isfinite(point.loss)]
    _at_edge(axes, broken, marker="x", y=EDGE, color=style.INK, gid="not-finite")


def unused_points(axes: Axes, result: SweepResult, window: Window) -> None:
    """Draw the losses of a long sweep that the fit doesn't use, if they are in view, as small gray dots."""
    seen = [p for p in points_left_out(result) if is_shown(p.loss) and window.loss_low <= p.loss <= window.loss_high]
    if seen:
        axes.plot(
            [p.lr for p in seen], [p.loss for p in seen], "o", color=style.GRAY, ms=1.8, mew=0, alpha=0.45, zorder=1.5,
            gid="left-out",
        )  # fmt: skip


def short_runs(axes: Axes, result: SweepResult, window: Window) -> None:
    """Draw the end of each trial run as a diamond; runs that diverged, or ended out of view, are carets above."""
    seen = [end for end in run_ends(result) if end[1] <= window.loss_high]
    axes.plot(
        [lr for lr, _ in seen], [loss for _, loss in seen], "D--", color=style.RUN, ms=6.0, mec="white", mew=1.0,
        lw=1.0, zorder=5.5, gid="short-runs",
    )  # fmt: skip
    shown = {lr for lr, _ in seen}
    lost = [
        run.plan.lr for run in result.runs if run.stop.blew_up or (run.loss is not None and run.plan.lr not in shown)
    ]
    if lost:
        axes.plot(
            lost, [EDGE] * len(lost), "^", color=style.RUN, ms=6.0, mec="white", mew=1.0,
            transform=axes.get_xaxis_transform(), zorder=5.5, gid="above-short-runs",
        )  # fmt: skip


def _at_edge(axes: Axes, marked: list[Point], *, marker: str, y: float, color: str, gid: str) -> None:
    if marked:
        axes.plot(
            [point.lr for point in marked], [y] * len(marked), marker, color=color, ms=4.6,
            mew=1.0 if marker == "x" else 0, alpha=0.8, transform=axes.get_xaxis_transform(), zorder=3, gid=gid,
        )  # fmt: skip


def fitted(axes: Axes, fit: Fit, window: Window) -> None:
    """Draw the fit as a bold line with its ribbon."""
    # Far above the picture the line runs out of view anyway; clipped there, no huge number reaches the renderer.
    span = window.loss_high - window.loss_low
    low, high = window.loss_low - span, window.loss_high + span

    def clipped(losses: tuple[float, ...]) -> list[float]:
        return [min(max(loss, low), high) for loss in losses]

    axes.fill_between(
        fit.lrs, clipped(fit.low), clipped(fit.high), color=style.FIT, alpha=0.18, lw=0, zorder=3, gid="ribbon"
    )
    axes.plot(fit.lrs, clipped(fit.losses), color=style.FIT, lw=2.4, solid_capstyle="round", zorder=4, gid="fit")


def start_line(axes: Axes, start: float) -> None:
    """Draw the loss before anything was learned as a thin dotted line, with its value at the left-hand end."""
    axes.axhline(start, color=style.GRAY, lw=0.9, ls=(0, (1, 2.5)), zorder=1, gid="start")
    axes.annotate(
        f"start {format_loss(start)}", (0, start), xycoords=("axes fraction", "data"), xytext=(4, 5),
        textcoords="offset points", ha="left", va="bottom", fontsize=style.SMALL_PT, color=style.GRAY, zorder=6,
        bbox=BEHIND_TEXT, gid="start-label",
    )  # fmt: skip


def lowest_point(axes: Axes, fit: Fit) -> None:
    """Mark the lowest point of the fit with an open circle, and its rate below."""
    lr, loss = lowest(fit)
    axes.plot([lr], [loss], "o", ms=7, mfc="white", mec=style.FIT, mew=1.8, zorder=6, gid="lowest")
    axes.annotate(
        f"lowest {format_loss(loss)} at {format_lr(lr)}", (lr, loss), xytext=(0, -9), textcoords="offset points",
        ha="center", va="top", fontsize=style.SMALL_PT, color=style.FIT, zorder=6.5, bbox=BEHIND_TEXT,
        gid="lowest-label",
    )  # fmt: skip


def trains_between(band: Band) -> str:
    """Return the name of the trainable band in the pictures."""
    return f"trains between {format_lr(band.low)} and {format_lr(band.high)}"


def steepest_point(axes: Axes, fit: Fit, pick: Pick) -> None:
    """Mark the rate at which the loss falls fastest, by a dot on the fit."""
    import numpy as np

    if pick.lr is not None and fit.lrs[0] <= pick.lr <= fit.lrs[-1]:
        loss = np.interp(math.log(pick.lr), np.log(fit.lrs), fit.losses)
        axes.plot([pick.lr], [loss], "o", ms=6, color=style.FIT, mec="white", mew=1.2, zorder=6, gid="steepest")


def trainable_band(axes: Axes, band: Band) -> None:
    """Shade the rates at which training crawls, works and diverges, in three colors."""
    low, high = axes.get_xlim()
    if low < band.low:
        axes.axvspan(low, band.low, color=style.CRAWLS, alpha=0.10, lw=0, zorder=0, gid="crawls")
    if band.high < high:
        axes.axvspan(band.high, high, color=style.DIVERGES, alpha=0.10, lw=0, zorder=0, gid="diverges")
    axes.axvspan(band.low, band.high, color=style.BAND, alpha=0.14, lw=0, zorder=0, gid="band")
    for end in (band.low, band.high):
        axes.axvline(end, color=style.BAND, lw=0.8, alpha=0.6, zorder=1)
    axes.set_xlim(low, high)


def zone_labels(axes: Axes, band: Band) -> None:
    """Say what the rates beside the trainable band do, if there is room."""
    to_share = axes.transData + axes.transAxes.inverted()
    left, right = (to_share.transform((end, 0))[0] for end in (band.low, band.high))
    for name, low, high in (("crawls", 0.0, left), ("diverges", right, 1.0)):
        if high - low > len(name) * LETTER:
            axes.annotate(
                name, ((low + high) / 2, 0.95), xycoords="axes fraction", ha="center", va="top",
                fontsize=style.SMALL_PT, color=style.GRAY, zorder=1.5, gid=f"{name}-label",
            )  # fmt: skip


def band_label(axes: Axes, band: Band) -> None:
    """Name the trainable band at its top."""
    middle = math.sqrt(band.low * band.high) if axes.get_xscale() == "log" else (band.low + band.high) / 2
    axes.annotate(
        trains_between(band), (middle, 1), xycoords=axes.get_xaxis_transform(),
        xytext=(0, -7), textcoords="offset points", ha="center", va="top", fontsize=style.SMALL_PT, color="#00664A",
        bbox={"boxstyle": "round,pad=0.25", "fc": "#E3F3EE", "ec": "none"}, zorder=7, gid="band-label",
    )  # fmt: skip


def picked(panels: Sequence[Axes], pick: Pick) -> None:
    """Draw the rate to use as a vertical line through all panels, with its interval on the lowest axis of rates.

    Neither stands on a curve: the rate comes from several of them. An uncertain one is a dashed line of another color
    with an open marker.
    """
    if pick.lr is None:
        return
    sure = pick.status is Status.CONFIDENT
    color = style.PICK if sure else style.UNCERTAIN
    for axes in panels:
        axes.axvline(pick.lr, color=color, lw=2.0, ls="-" if sure else (0, (4, 3)), zorder=5, gid="pick")
    top, axes = panels[0], panels[-1]
    on_axis = axes.get_xaxis_transform()
    if pick.low is not None and pick.high is not None:
        axes.plot(
            [pick.low, pick.high], [0, 0], "|-", color=color, lw=3.0, ms=9, mew=1.8, transform=on_axis, clip_on=False,
            zorder=6, gid="interval",
        )  # fmt: skip
    axes.plot(
        [pick.lr], [0], "o", color=color, mfc=color if sure else "white", ms=8.5, mew=1.8, transform=on_axis,
        clip_on=False, zorder=7, gid="pick-point",
    )  # fmt: skip
    top.annotate(
        use_rate(pick.lr, pick.status), (pick.lr, 1), xycoords=top.get_xaxis_transform(), xytext=(0, 4),
        textcoords="offset points", ha="center", va="bottom", fontsize=style.PICK_PT, fontweight="bold",
        color=color, zorder=8, gid="pick-label",
    )  # fmt: skip


def use_rate(lr: float, status: Status) -> str:
    """Return what to do with a pick, such as `use 0.0209 (confident)`."""
    return f"use {format_lr(lr)} ({status.value})"


def rate_axis(axes: Axes, window: Window, spacing: Spacing) -> None:
    """Set up the axis of rates: logarithmic with labelled decades, or linear for a linear sweep."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    label = FuncFormatter(lambda lr, _: format_lr(lr))
    if spacing is Spacing.LINEAR:
        axes.set_xlim(window.lr_low, window.lr_high)
        axes.xaxis.set_major_locator(MaxNLocator(8, steps=ROUND_STEPS))
    else:
        axes.set_xscale("log")
        axes.set_xlim(window.lr_low, window.lr_high)
        few = math.log10(window.lr_high / window.lr_low) < FEW_DECADES
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,), numticks=20))
        axes.xaxis.set_minor_locator(LogLocator(subs=tuple(range(2, 10)), numticks=200))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(label)


def loss_axis(axes: Axes, window: Window, label: str = "loss") -> None:
    """Set up the axis of losses, with its label above."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.set_ylim(window.loss_low, window.loss_high)
    axes.yaxis.set_major_locator(MaxNLocator(round(axes.get_position().height * 10) + 1, steps=ROUND_STEPS))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda loss, _: format_loss(loss)))
    axes.annotate(
        label, (0, 1), xycoords="axes fraction", xytext=(-30, 5), textcoords="offset points", ha="left", va="bottom",
        gid="loss-label",
    )  # fmt: skip
    axes.grid(axis="y", color=style.FAINT, lw=0.7)
    axes.set_axisbelow(True)
