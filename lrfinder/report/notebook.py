"""A sweep while it runs, in a notebook: one output that is redrawn, with the curve as it grows and one bar."""

from __future__ import annotations

from html import escape
from typing import Any

from lrfinder.formatting import format_count
from lrfinder.report.live import MOST_POINTS, Frame
from lrfinder.report.style import BLUE, GRAY, VERMILION
from lrfinder.report.svg import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, dots, loss_plot
from lrfinder.report.window import thinned


class NotebookView:
    """Updates an output of the cell through IPython; what remains says how many updates were made."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._said: list[str] = []

    def start(self) -> None:
        """Make the output."""
        from IPython.display import display

        first = _output("starting", "")
        self._handle = display(first, raw=True, display_id=True)  # type: ignore[no-untyped-call, unused-ignore]

    def draw(self, frame: Frame) -> None:
        """Redraw the output."""
        bar = f'<progress value="{frame.done}" max="{frame.planned}" style="width:20em"></progress>'
        words = f"{frame.part}: {frame.done}/{frame.planned} {frame.facts}"
        self._handle.update(_output(words, self._lines() + _picture(frame) + bar), raw=True)

    def say(self, line: str) -> None:
        """Show a line above the curve, from the next drawing on."""
        self._said.append(line)

    def stop(self, frame: Frame) -> None:
        """Leave one line."""
        self._handle.update(_output(f"{format_count(frame.done, 'update')} made.", self._lines()), raw=True)

    def _lines(self) -> str:
        return "".join(f"<div>{escape(line)}</div>" for line in self._said)


def _output(words: str, html: str) -> dict[str, str]:
    return {"text/plain": words, "text/html": f'<div class="lrfinder">{html} {escape(words)}</div>'}


def _picture(frame: Frame) -> str:
    window = frame.window
    if window is None:
        return ""
    plot = loss_plot(window, frame.settings.spacing)

    def at(pairs: Any) -> str:
        return dots((plot.x(lr), plot.y(loss)) for lr, loss in pairs if window.shows(loss))

    line = [point for point in thinned(frame.points, MOST_POINTS) if window.shows(point.loss)]
    before = [(point.lr, point.loss) for point in thinned(frame.earlier, MOST_POINTS)]
    ticks = [(plot.x(lr), BOTTOM + 20, "middle", label) for lr, label in plot.rates]
    ticks += [(LEFT - 8, plot.y(loss) + 5, "end", label) for loss, label in plot.losses]
    labels = "".join(
        f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(label)}</text>' for x, y, anchor, label in ticks
    )
    return (
        f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" style="max-width:36em;display:block" role="img" '
        'aria-label="Loss against learning rate" font-size="14" fill="currentColor" stroke-linecap="round">'
        f'<g fill="none"><path d="M{LEFT:g} {TOP:g}V{BOTTOM:g}H{RIGHT:g}" stroke="{GRAY}"/>'
        f'<path d="{at(before)}" stroke="{GRAY}" stroke-width="4"/>'
        f'<path d="{plot.line([p.lr for p in line], [p.loss for p in line])}" stroke="{BLUE}" stroke-width="2"/>'
        f'<path d="{at(frame.ends)}" stroke="{VERMILION}" stroke-width="9"/></g>{labels}</svg>'
    )
