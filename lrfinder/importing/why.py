"""What is said of an imported schedule: where it comes from, and why it is a table, where it is one."""

from __future__ import annotations

from lrfinder.importing.match import TOLERANCE, Match
from lrfinder.schedules import Table


def why_shape(source: str, made: Match, reason: str) -> str:
    """Return the line for `evidence.why`: the source, how near, and the `reason` for a table."""
    near = "equal at every update" if made.difference <= TOLERANCE else f"within {made.difference:.1g} of the peak"
    if isinstance(made.schedule, Table):
        return f"imported from {source} as a table, {near}: {reason}"
    return f"imported from {source}: {near}"
