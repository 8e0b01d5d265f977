"""The picture of a sweep: what was measured, the fit, the trainable band, and the rate to use.

The trial runs stand in a panel of their own below the sweep's, since they have another loss: held-out, and after more
updates at one rate.
"""

from __future__ import annotations

import hashlib
import io
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from lrfinder.formatting import format_count
from lrfinder.records import Chart, Fit, Metric, ShortRun, SweepResult
from lrfinder.report import layers, style
from lrfinder.report.window import Window, start_loss, trials_window, window_of
from lrfinder.version import CREATED_BY

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_IN, HEIGHT_IN, TWO_PANELS_IN = 8.0, 5.0, 6.0
SCREEN_DPI = 100  # 800 x 500 pixels, 800 x 600 with two panels
# Parts of the figure, as shares of its width and height.
LEFT, RIGHT, TOP, BOTTOM = 0.08, 0.97, 0.82, 0.155
UPPER_BOTTOM, LOWER_TOP = 0.43, 0.36  # with two panels
HEADER_BOTTOM = 0.895
REASON_LINE = 0.036  # height of a line of the reason for a refusal
LONGEST_TITLE = 68  # characters in the title's size
REASON_WIDTH = 104  # characters of the text's size between the margins
MOST_REASON_LINES = 3
DIGEST_KEY: Final = "Drawing"  # the keyword of the PNG's text chunk
HEAD_BYTES: Final = 1024  # of a PNG: its text chunks come before its pixels
_METRICS = {Metric.TRAIN: "", Metric.PROBE: ", loss of a batch set aside", Metric.VAL: ", validation loss"}


def curve_figure(chart: Chart, ax: Axes | None = None) -> Figure:
    """Return the figure of a sweep; whatever is missing (a fit, a band, a pick, even every finite loss) is left out.

    If no rate is recommended, the reason is written into the picture. With `ax` one panel is drawn there: the sweep's,
    without header and key.
    """
    style.load_matplotlib()
    from lrfinder.report.picture import Picture

    if ax is not None:
        return _into(ax, chart)
    result, fit, pick, reason = chart.result, chart.fit, chart.pick, chart.refusal
    with style.figure_style():
        window, trials = window_of(result, fit, with_runs=False), trials_window(result)
        both = window is not None and trials is not None
        figure = Picture(figsize=(WIDTH_IN, TWO_PANELS_IN if both else HEIGHT_IN), dpi=SCREEN_DPI, facecolor="white")
        bottom = UPPER_BOTTOM if both else BOTTOM
        axes = figure.add_axes((LEFT, bottom, RIGHT - LEFT, TOP - bottom))
        _header(figure, result)
        panels = [axes]
        if window is not None:
            _sweep_panel(axes, chart, window)
        if trials is not None:
            if both:
                panels.append(figure.add_axes((LEFT, BOTTOM, RIGHT - LEFT, LOWER_TOP - BOTTOM), sharex=axes))
                axes.tick_params(labelbottom=False)
            _trials_panel(panels[-1], chart, trials, alone=not both)
        if window is None and trials is None:
            _empty(axes, reason)
            return figure
        if pick is not None:
            layers.picked(panels, pick)
        if reason is not None:
            _reason(figure, axes, reason, bottom)
        _key(figure, panels, fit)
        for panel in panels:
            _keep_inside(figure, panel)
    return figure


def _into(axes: Axes, chart: Chart) -> Figure:
    """Draw the sweep into somebody's axes, or the trial runs if there is no sweep; return their figure."""
    window, trials = window_of(chart.result, chart.fit, with_runs=False), trials_window(chart.result)
    with style.figure_style():
        if window is not None:
            _sweep_panel(axes, chart, window)
        elif trials is not None:
            _trials_panel(axes, chart, trials, alone=True)
        else:
            _empty(axes, chart.refusal)
        if chart.pick is not None:
            layers.picked([axes], chart.pick)
        axes.set_xlabel("learning rate")
    return style.figure_of(axes)


def curve_png(chart: Chart, *, dpi: int = SCREEN_DPI) -> bytes:
    """Return the figure as a PNG at `dpi`, with its digest; the same curve gives the same bytes."""
    figure = curve_figure(chart)
    out = io.BytesIO()
    with style.figure_style():
        figure.savefig(out, format="png", dpi=dpi, metadata={"Software": None, DIGEST_KEY: figure_digest(chart)})
    return out.getvalue()


def curve_svg(chart: Chart) -> str:
    """Return the figure as an SVG document; the same curve gives the same text."""
    figure = curve_figure(chart)
    out = io.StringIO()
    with style.figure_style():
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": "lrfinder"})
    return out.getvalue()


def figure_digest(chart: Chart) -> str:
    """Return a digest of what `curve_png` draws: measurements, fit, band, and the rate to use or why there is none."""
    result, pick = chart.result, chart.pick
    measured = (result.settings, result.setup, result.traces, result.short_sweeps, result.runs)
    rate = None if pick is None else (pick.lr, pick.low, pick.high, pick.status)
    return hashlib.sha256(repr((CREATED_BY, measured, chart.fit, chart.band, rate, chart.refusal)).encode()).hexdigest()


def is_drawn(head: bytes, digest: str) -> bool:
    """Tell whether a PNG that begins with `head` shows what `digest` stands for."""
    return f"tEXt{DIGEST_KEY}\0{digest}".encode() in head


def headline(result: SweepResult) -> str:
    """Return the title of a sweep's picture: the model and the optimizer."""
    return f"{result.setup.model}, {result.setup.optimizer.name}"


def subtitle(result: SweepResult) -> str:
    """Return what was measured in a line: repeats, short sweeps, trial runs, batches, device, metric."""
    settings, setup = result.settings, result.setup
    parts = []
    if result.traces:
        parts.append(f"{format_count(len(result.traces), 'repeat')} x {format_count(settings.steps, 'update')}")
    short = settings.short()
    if result.short_sweeps and short is not None:
        parts.append(f"{format_count(len(result.short_sweeps), 'short sweep')} x {short.steps}")
    if result.runs:
        parts.append(f"{format_count(len(result.runs), 'trial run')} x {settings.run_steps}")
    cached = (
        ""
        if setup.cached_batches is None
        else f" on {format_count(setup.cached_batches, 'cached batch', 'cached batches')}"
    )
    batch = f", batch size {setup.batch}" if setup.batch else ""
    metric = _METRICS[settings.metric] if result.traces else ""
    return f"{' + '.join(parts)}{cached}{batch}, {setup.device}{metric}"


def trial_runs(result: SweepResult) -> str:
    """Return what the legend calls the ends of the trial runs: they have another loss than the sweep."""
    return f"trial runs of {result.settings.run_steps} updates ({judged_by(result.runs)})"


def judged_by(runs: Sequence[ShortRun]) -> str:
    """Return what the losses of these runs are: held-out ones, or those of training, if a script shows no others."""
    return next((run.judged_by for run in runs if run.metric == "train"), "held-out loss")


def _header(figure: Figure, result: SweepResult) -> None:
    title = style.shortened(style.with_known_glyphs(headline(result)), LONGEST_TITLE)
    figure.text(LEFT, 0.958, title, fontsize=style.TITLE_PT, fontweight="bold", va="center", gid="title")
    below = style.with_known_glyphs(subtitle(result))
    figure.text(LEFT, 0.914, below, fontsize=style.TEXT_PT, color=style.GRAY, va="center", gid="subtitle")
    figure.text((LEFT + RIGHT) / 2, 0.083, "learning rate", ha="center", va="center", gid="rate-label")


def _sweep_panel(axes: Axes, chart: Chart, window: Window) -> None:
    """Draw the losses of the sweep and their fit."""
    result, fit, band = chart.result, chart.fit, chart.band
    layers.rate_axis(axes, window, result.settings.spacing)
    layers.loss_axis(axes, window)
    start = start_loss(result, fit)
    if start is not None and window.loss_low <= start <= window.loss_high:
        layers.start_line(axes, start)
    if band is not None:
        layers.trainable_band(axes, band)
        layers.band_label(axes, band)
    layers.unused_points(axes, result, window)
    layers.measurements(axes, result, window)
    if fit is not None:
        layers.fitted(axes, fit, window)
        layers.lowest_point(axes, fit)
        if chart.steepest is not None:
            layers.steepest_point(axes, fit, chart.steepest)


def _trials_panel(axes: Axes, chart: Chart, window: Window, *, alone: bool) -> None:
    """Draw where the trial runs ended; `alone` if there is no sweep whose axis of rates it shares."""
    if alone:
        layers.rate_axis(axes, window, chart.result.settings.spacing)
    updates = chart.result.settings.run_steps
    judged = judged_by(chart.result.runs)
    layers.loss_axis(axes, window, "loss" if alone else f"{judged} after {updates} updates at one rate")
    if chart.band is not None:
        layers.trainable_band(axes, chart.band)
        layers.zone_labels(axes, chart.band)
        if alone:
            layers.band_label(axes, chart.band)
    layers.short_runs(axes, chart.result, window)


def _empty(axes: Axes, reason: str | None) -> None:
    axes.set_axis_off()
    text = "No finite loss was measured."
    if reason is not None:
        text += "\n" + textwrap.fill(f"No rate recommended: {style.with_known_glyphs(reason)}", REASON_WIDTH)
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", linespacing=1.5, gid="empty")


def _reason(figure: Figure, axes: Axes, reason: str, bottom: float) -> None:
    """Write the reason for a refusal between header and axes, which are made smaller for it."""
    text = f"No rate recommended: {style.with_known_glyphs(reason)}"
    lines = textwrap.wrap(text, REASON_WIDTH, max_lines=MOST_REASON_LINES, placeholder=" ...")
    top = HEADER_BOTTOM - REASON_LINE * len(lines) - 0.035
    axes.set_position((LEFT, bottom, RIGHT - LEFT, top - bottom))
    figure.text(
        LEFT, HEADER_BOTTOM - 0.01, "\n".join(lines), fontsize=style.TEXT_PT, color=style.PICK, va="top",
        linespacing=1.3, gid="reason",
    )  # fmt: skip


def _key(figure: Figure, panels: Sequence[Axes], fit: Fit | None) -> None:
    """Say, below the panels, what dots, line, carets and crosses are; only those that are there."""
    from matplotlib.lines import Line2D

    drawn = {str(line.get_gid()) for panel in panels for line in panel.lines}
    entries = []
    if any(gid.startswith("repeat-") for gid in drawn):
        entries.append(Line2D([], [], marker="o", ls="", ms=4, mew=0, color=style.SKY, label="sweep"))
    if "left-out" in drawn:
        entries.append(Line2D([], [], marker="o", ls="", ms=2.4, mew=0, color=style.GRAY, label="long sweep"))
    if "short-runs" in drawn:
        entries.append(Line2D([], [], marker="D", ls="", ms=5, mew=0, color=style.RUN, label="trial runs"))
    if fit is not None:
        entries.append(Line2D([], [], color=style.FIT, lw=2.4, label="fit with 90 % ribbon"))
    if "steepest" in drawn:
        entries.append(Line2D([], [], marker="o", ls="", ms=5, color=style.FIT, label="falls fastest"))
    if any(gid.startswith(("above", "below")) for gid in drawn):
        entries.append(Line2D([], [], marker="^", ls="", ms=5, mew=0, color=style.SKY, label="off the scale"))
    if "not-finite" in drawn:
        entries.append(Line2D([], [], marker="x", ls="", ms=5, color=style.INK, label="not finite"))
    figure.legend(
        handles=entries, loc="center", bbox_to_anchor=((LEFT + RIGHT) / 2, 0.03), ncols=len(entries), frameon=False,
        fontsize=style.SMALL_PT, handletextpad=0.6, columnspacing=1.4, handlelength=1.4, borderpad=0,
    )  # fmt: skip


def _keep_inside(figure: Figure, axes: Axes) -> None:
    """Move labels that stick out of the axes at the left or at the right back inside."""
    from matplotlib.text import Annotation

    frame = axes.get_window_extent()
    points_per_pixel = 72 / figure.dpi
    for label in axes.texts:
        if isinstance(label, Annotation) and label.get_gid() != "loss-label":  # that one belongs outside
            extent = label.get_window_extent()
            shift = max(0.0, frame.x0 - extent.x0) - max(0.0, extent.x1 - frame.x1)
            x, y = label.xyann
            label.xyann = (x + shift * points_per_pixel, y)
