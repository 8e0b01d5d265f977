"""Param groups whose rates follow one curve, each at its own ratio."""

from __future__ import annotations

from collections.abc import Sequence

from lrfinder.errors import UsageError
from lrfinder.importing.match import TOLERANCE

Rates = Sequence[float]


def fastest(columns: Sequence[Rates]) -> int:
    """Return the index of the param group with the largest rate, the first one of several."""
    largest = [max(rates) for rates in columns]
    return largest.index(max(largest))


def ratios(columns: Sequence[Rates], *, to: int, of: str) -> tuple[float, ...]:
    """Return each group's rate over that of group `to`: the same at every update, within 1e-9 of the group's own peak.

    Raises UsageError that names the groups that follow another curve.
    """
    lead = columns[to]
    top = lead.index(max(lead))  # where the ratio is least rounded
    found = tuple(rates[top] / lead[top] for rates in columns)
    strays = {}
    for group, (rates, ratio) in enumerate(zip(columns, found, strict=True)):
        own = max(rates)
        stray = next((t for t, rate in enumerate(rates) if abs(rate - ratio * lead[t]) > TOLERANCE * own), None)
        if stray is not None:
            strays[group] = stray
    if strays:
        group, t = next(iter(strays.items()))
        others = ", ".join(map(str, strays))
        raise UsageError(
            f"{of}: param group{'s' if len(strays) > 1 else ''} {others} and param group {to} follow different curves: "
            f"at update {t} group {group} has {columns[group][t] / max(columns[group]):.3g} of its largest rate, group "
            f"{to} {lead[t] / max(lead):.3g}",
            hint="a config has one curve and a ratio for each group: give all groups one function, and floors in "
            "proportion to their rates",
        )
    return found
