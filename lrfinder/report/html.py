"""A sweep as a fragment of HTML for notebooks: the picture and the table of picks."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from lrfinder.formatting import format_interval
from lrfinder.records import Chart, Pick, Status
from lrfinder.report.figure import curve_svg, headline, subtitle
from lrfinder.report.picks import interval_cell, rate_cell

# At least 4.5 : 1 on white and on the dark backgrounds of notebooks alike, as far as one color can be.
COLORS = {Status.CONFIDENT: "#0B8A66", Status.UNCERTAIN: "#A66F00", Status.REFUSED: "#D0520A"}
LEFT_ALIGNED = 'style="text-align:left;vertical-align:top"'


def result_html(chart: Chart) -> str:
    """Return a self-contained `<div>`: the figure as inline SVG, and the table of picks; every name is escaped."""
    svg = curve_svg(chart)
    drawing = svg[svg.index("<svg") :]  # the XML declaration and the document type belong to files of their own
    words = escape(_in_words(chart), quote=True)
    table = _table(chart.picks, chart.pick) if chart.picks else ""
    return f'<div class="lrfinder"><div role="img" aria-label="{words}">{drawing}</div>{table}</div>'


def _in_words(chart: Chart) -> str:
    """Say what the picture shows, for those who can't see it."""
    parts = [f"Loss against learning rate of {headline(chart.result)}: {subtitle(chart.result)}."]
    pick, reason, band = chart.pick, chart.refusal, chart.band
    if pick is not None and pick.lr is not None:
        parts.append(f"Recommended rate {rate_cell(pick)} by {pick.rule}.")
    if reason is not None:
        parts.append(f"No rate recommended: {reason}.")
    if band is not None:
        parts.append(f"Trainable band {format_interval(band.low, band.high)}.")
    return " ".join(parts)


def _table(picks: Sequence[Pick], recommended: Pick | None) -> str:
    head = "".join(f"<th {LEFT_ALIGNED}>{name}</th>" for name in ("rule", "rate", "interval", "status", "reason"))
    rows = "".join(_row(pick, recommended=pick is recommended) for pick in picks)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _row(pick: Pick, *, recommended: bool) -> str:
    rule = (
        f"<strong>{escape(pick.rule)}</strong> (recommended)"
        if recommended and pick.lr is not None
        else escape(pick.rule)
    )
    status = f'<span style="color:{COLORS[pick.status]}">{pick.status.value}</span>'
    cells = (rule, escape(rate_cell(pick)), escape(interval_cell(pick)), status, escape(pick.why))
    return "<tr>" + "".join(f"<td {LEFT_ALIGNED}>{cell}</td>" for cell in cells) + "</tr>"
