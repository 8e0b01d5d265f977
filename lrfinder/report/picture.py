"""What a picture shows, as a mark inside the PNG: one that shows the same already need not be drawn again."""

from __future__ import annotations

import hashlib
from typing import Final

from lrfinder.records import Chart
from lrfinder.version import CREATED_BY

DIGEST_KEY: Final = "Drawing"  # the keyword of the PNG's text chunk
HEAD_BYTES: Final = 1024  # of a PNG: its text chunks come before its pixels


def figure_digest(chart: Chart) -> str:
    """Return a digest of what `curve_png` draws: measurements, fit, band, rates, and the reason of a refusal.

    How far a pick may be trusted isn't drawn, so the same rates for runs of another length are the same picture.
    """
    rates = [(pick.rule, pick.lr, pick.low, pick.high, pick.why if pick.lr is None else "") for pick in chart.picks]
    result = chart.result
    measured = (result.settings, result.setup, result.traces, result.short_sweeps, result.runs)
    return hashlib.sha256(repr((CREATED_BY, measured, chart.fit, rates, chart.band, chart.chosen)).encode()).hexdigest()


def is_drawn(head: bytes, digest: str) -> bool:
    """Tell whether a PNG that begins with `head` bears the mark of this drawing."""
    return f"tEXt{DIGEST_KEY}\0{digest}".encode() in head
