"""Schedules as a picture: the rate of every update."""

from __future__ import annotations

import io
from collections.abc import Mapping
from itertools import cycle

from lrfinder.config import ScheduleConfig
from lrfinder.formatting import format_lr
from lrfinder.report import style

COLORS = (style.BLUE, style.VERMILION, style.GREEN, style.RUN, style.GRAY, style.INK)
WIDTH_IN, HEIGHT_IN, DPI = 8.0, 4.2, 100
SAMPLES = 2000  # of each curve: more than twice the picture's columns
LONGEST_LABEL = 70


def schedule_png(configs: Mapping[str, ScheduleConfig]) -> bytes:
    """Return a PNG of f(t) of each config over the updates, with its name and what it says."""
    style.load_matplotlib()
    from matplotlib.figure import Figure

    with style.figure_style():
        figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), layout="constrained")
        axes = figure.add_subplot()
        for (name, config), color in zip(configs.items(), cycle(COLORS), strict=False):
            shape = config.followed
            label = f"{name}: {config.optimizer.name}, {shape.name}, peak {format_lr(config.optimizer.lr)}"
            updates = _updates(config.steps)
            rates = [config.rate(t) for t in updates]
            axes.step(updates, rates, where="post", color=color, label=style.shortened(label, LONGEST_LABEL))
        axes.set_xlabel("update")
        axes.set_ylabel("learning rate")
        axes.set_ylim(bottom=0)
        axes.set_xlim(left=0)
        axes.grid(color=style.FAINT)
        for text in axes.legend(frameon=False, fontsize=style.SMALL_PT, loc="best").get_texts():
            text.set_text(style.with_known_glyphs(text.get_text()))
        data = io.BytesIO()
        figure.savefig(data, format="png", dpi=DPI, metadata={"Software": None})
    return data.getvalue()


def _updates(steps: int) -> list[int]:
    """Return the updates to draw: all, or SAMPLES of them, the last one among them."""
    count = min(steps, SAMPLES)
    return sorted({round(i * (steps - 1) / max(1, count - 1)) for i in range(count)})
