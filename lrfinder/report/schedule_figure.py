"""Schedules as a picture: the rate of every update."""

from __future__ import annotations

import io
from collections.abc import Mapping
from itertools import cycle
from typing import TYPE_CHECKING

from lrfinder.config import ScheduleConfig
from lrfinder.formatting import format_lr
from lrfinder.report import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = (style.BLUE, style.VERMILION, style.GREEN, style.RUN, style.GRAY, style.INK)
WIDTH_IN, HEIGHT_IN, DPI = 8.0, 4.2, 100
SAMPLES = 2000  # of each curve: more than twice the picture's columns
LONGEST_LABEL = 70


def schedule_figure(configs: Mapping[str, ScheduleConfig], ax: Axes | None = None) -> Figure:
    """Return a figure of f(t) of each config over the updates, with its name and what it says; or draw it into `ax`."""
    style.load_matplotlib()
    from lrfinder.report.picture import Picture

    with style.figure_style():
        axes = ax or Picture(figsize=(WIDTH_IN, HEIGHT_IN), dpi=DPI, layout="constrained").add_subplot()
        for (name, config), color in zip(configs.items(), cycle(COLORS), strict=False):
            shape = config.followed
            label = f"{name}: {config.optimizer.name}, {shape.name}, peak {format_lr(config.optimizer.lr)}"
            updates = _updates(config.steps)
            rates = [config.rate(t) for t in updates]
            label = style.with_known_glyphs(style.shortened(label.removeprefix(": "), LONGEST_LABEL))
            axes.step(updates, rates, where="post", color=color, label=label)
        axes.set_xlabel("update")
        axes.set_ylabel("learning rate")
        axes.set_ylim(bottom=0)
        axes.set_xlim(left=0)
        axes.grid(color=style.FAINT)
        axes.legend(frameon=False, fontsize=style.SMALL_PT, loc="best")
    return style.figure_of(axes)


def schedule_png(configs: Mapping[str, ScheduleConfig]) -> bytes:
    """Return the figure as a PNG; the same configs give the same bytes."""
    figure, data = schedule_figure(configs), io.BytesIO()
    with style.figure_style():
        figure.savefig(data, format="png", dpi=DPI, metadata={"Software": None})
    return data.getvalue()


def _updates(steps: int) -> list[int]:
    """Return the updates to draw: all, or SAMPLES of them, the last one among them."""
    count = min(steps, SAMPLES)
    return sorted({round(i * (steps - 1) / max(1, count - 1)) for i in range(count)})
