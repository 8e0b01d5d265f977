"""A framework's rates as one of our shapes: a named one if it is equal at every update, else a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from pydantic import ValidationError

from lrfinder.errors import UsageError
from lrfinder.schedules import SCHEDULES, Schedule, Table
from lrfinder.schedules.table import MOST_POINTS, line_through

# Of the peak: how near, by default, what is written comes to the framework's rates, at every update.
TOLERANCE = 1e-9
_ROUNDING = 1e-14  # of the peak: lines that are straight but for rounding need two points, not one for each update
MOST_UPDATES = 10_000_000  # they are looked at one by one, for up to a minute; no table is longer


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What the framework's rates may be: a shape, and the peak that it scales."""

    peak: float
    schedule: Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """What the rates are: the peak, the shape, and how far that is from them, at most, over the peak."""

    peak: float
    schedule: Schedule
    difference: float


def shape(name: str, **parameters: Any) -> Schedule | None:
    """Return the named shape, or None if it doesn't take these parameters (a floor above the peak, say)."""
    try:
        return SCHEDULES[name](**parameters)
    except ValidationError:
        return None


def difference(candidate: Candidate, rates: Sequence[float], *, enough: float = math.inf) -> float:
    """Return max |f(t) - rates[t]| over the peak; what it has if that is above `enough`, which ends the search."""
    peak, factor = candidate.peak, candidate.schedule.factor
    worst = 0.0
    for t, rate in enumerate(rates):
        worst = max(worst, abs(factor(t) - rate / peak))
        if worst > enough:
            break
    return worst


def match(
    rates: Sequence[float],
    candidates: Iterable[Callable[[], Candidate | None]],
    *,
    peak: float,
    tolerance: float = TOLERANCE,
) -> Match:
    """Return the first candidate whose f(t) is within `tolerance` of `rates`, else a table in multiples of `peak`.

    `tolerance` is in multiples of the peak. Candidates are made when it is their turn. `peak` is at least the largest
    rate. Raises UsageError if the table would have more points than a config may hold.
    """
    for make in candidates:
        try:
            candidate = make()
        except ArithmeticError:  # its parameters divide by 0, or are infinite
            continue
        worst = math.inf if candidate is None else difference(candidate, rates, enough=tolerance)
        if candidate is not None and worst <= tolerance:
            return Match(peak=candidate.peak, schedule=candidate.schedule, difference=worst)
    table = Candidate(peak=peak, schedule=_table([max(rate, 0.0) / peak for rate in rates], tolerance))
    return Match(peak=peak, schedule=table.schedule, difference=difference(table, rates))


def _table(factors: list[float], tolerance: float) -> Table:
    """Return the table with the fewest points: steps that are held, or lines; exact ones if there is room."""
    held = [(0, factors[0])]
    held += [(u + 1, after) for u, (before, after) in enumerate(pairwise(factors)) if after != before]
    lines = line_through(factors, tolerance=_ROUNDING)
    if len(held) < len(lines) and len(held) <= MOST_POINTS:
        return Table(steps=len(factors), points=tuple(held), between="hold")
    if len(lines) > MOST_POINTS:
        lines = line_through(factors, tolerance=tolerance)
    if len(lines) > MOST_POINTS:
        raise UsageError(
            f"no named shape is this schedule, and its table would have {len(lines):,} points: a config holds "
            f"{MOST_POINTS:,}",
            hint=f"allow more than {tolerance:g} of the peak as difference: tolerance=1e-6 (--tolerance 1e-6) is far "
            "below what training can tell",
        )
    return Table(steps=len(factors), points=lines)


def check_updates(steps: object, *, what: str = "steps") -> None:
    """Raise UsageError if `steps` is no length of a run that can be imported."""
    if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= MOST_UPDATES:
        raise UsageError(f"{what} must be a whole number from 1 to {MOST_UPDATES:,}, got {steps!r}")


def check_rates(rates: Sequence[float], *, of: str) -> None:
    """Raise UsageError if a rate is not one: not a number, infinite, or below 0 by more than rounding."""
    least = -TOLERANCE * max(rates)  # torch multiplies its way down to 0, and may end 1e-17 below
    for t, rate in enumerate(rates):
        if not math.isfinite(rate) or rate < least:
            raise UsageError(
                f"{of}: update {t} would use the rate {rate:g}",
                hint="import the updates before it alone (steps), or mend the schedule",
            )


def check_peak(peak: float, *, of: str) -> None:
    """Raise UsageError if no update has a rate above 0."""
    if peak == 0:
        raise UsageError(f"{of}: every update would use the rate 0", hint="check the peak rate and the length")
