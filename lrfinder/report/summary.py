"""What a command prints about advice: the rate and its status first, and on request all rules and reasons."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lrfinder.formatting import format_duration, format_interval, format_lr
from lrfinder.options import STOP_TEXT
from lrfinder.records import Status, SweepResult
from lrfinder.report.picks import band_line, others_line, picks_table
from lrfinder.rules import FIT_RULES
from lrfinder.rules.trials import TRIALS_RULE

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lrfinder.advice import Advice

MOST_GROUPS = 6  # whose rates are told


def summary_lines(
    advice: Advice,
    result: SweepResult,
    *,
    seconds: float | None = None,
    picture: Path | None = None,
    updates: int | None = None,
    reason: bool = True,
    batch: int | None = None,
) -> list[str]:
    """Return the suggested rate and how sure it is, where training works, and what the sweep took.

    `result` is the sweep that was advised on, `picture` the file of its picture, if one was drawn, and `updates` what
    was spent in all, if that is more than the sweep. Without `reason` an uncertain pick doesn't say why.
    """
    took = "" if seconds is None else f", {format_duration(seconds)}"
    ended = f"; {STOP_TEXT[result.status]}" if result.status.cut_short else ""
    place = f"  Picture: {picture}" if picture is not None else f"  Run: {result.run}" if result.run is not None else ""
    size = f" of batch size {result.setup.batch}" if result.setup.processes is not None else ""
    spent = f"{updates or result.updates} updates{size}{took} on {result.setup.device}{ended}.{place}"
    if advice.lr is None:
        return [f"No learning rate can be suggested: {advice.why}.", f"What to do: {advice.hint}.", spent]
    pick, band, optimizer = advice.picks[0], advice.band, result.setup.optimizer
    interval = f"{format_interval(pick.low, pick.high)}, " if pick.low is not None and pick.high is not None else ""
    facts = []
    if band is not None:
        facts.append(f"Trains between {format_lr(band.low)} and {format_lr(band.high)}")
    if optimizer.default_lr is not None:
        facts.append(f"{optimizer.name}'s default is {format_lr(optimizer.default_lr)}")
    if len(set(optimizer.group_ratios)) > 1:
        shares = ", ".join(f"{ratio:.3g}" for ratio in optimizer.group_ratios[:MOST_GROUPS])
        more = ", ..." if len(optimizer.group_ratios) > MOST_GROUPS else ""
        facts.append(f"the param groups train at {shares}{more} times this rate")
    whose = "" if batch is None else f" for {batch} samples an update"
    return [
        f"Suggested peak learning rate{whose}: {format_lr(advice.lr)}   ({interval}{pick.status})",
        *([f"Why uncertain: {pick.why}."] if reason and pick.status is Status.UNCERTAIN else []),
        *([f"{'; '.join(facts)}."] if facts else []),
        *([advice.start] if advice.start else []),
        *map(str, advice.against),
        spent,
    ]


def detail_parts(advice: Advice) -> list[RenderableType]:
    """Return the table of rules, what other finders say, the band with its intervals, and the paragraph."""
    chosen = advice.picks[0]
    own = [pick for pick in advice.picks if pick is chosen or pick.rule in {TRIALS_RULE, *FIT_RULES}]
    parts: list[RenderableType] = ["", picks_table(own, chosen=chosen.rule, notes=advice.notes)]
    for line in advice.notes:
        parts += ["", f"For all picks: {line}."]
    if others := [pick for pick in advice.picks if pick not in own]:
        parts += ["", f"Other finders' rules on the same curves: {others_line(others)}."]
    if advice.band is not None:
        parts += ["", f"Trainable band: {band_line(advice.band)}."]
    return [*parts, "", advice.why]
