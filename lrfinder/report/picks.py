"""The table of picks: what each rule says, how far it may be trusted, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich import box
from rich.table import Table
from rich.text import Text

from lrfinder.formatting import format_interval, format_lr
from lrfinder.records import Band, Pick, Status
from lrfinder.records.chart import chosen_pick

STYLES: Final = {Status.CONFIDENT: "green", Status.UNCERTAIN: "yellow", Status.REFUSED: "red"}
NOTHING = "-"  # in a cell that a refusal leaves empty; ASCII, so that every terminal shows it
MARK = ">"


def picks_table(picks: Sequence[Pick], *, chosen: str | None, notes: Sequence[str] = ()) -> Table:
    """Return a table with a row for each pick; that of the rule `chosen` is marked; it must have one.

    `notes` are reasons that stand once below the table: its rows leave them out.
    """
    recommended = chosen_pick(picks, chosen)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("rule", overflow="fold", min_width=max((len(MARK) + 1 + len(p.rule) for p in picks), default=4))
    table.add_column("rate", no_wrap=True, justify="right")
    table.add_column("interval")  # wraps, but only once the reasons are as narrow
    table.add_column("status", no_wrap=True)
    table.add_column("reason", overflow="fold")
    for pick in picks:
        table.add_row(*_cells(pick, notes, marked=pick is recommended), style="bold" if pick is recommended else "")
    if recommended is not None and recommended.lr is not None:
        table.caption = Text(f"{MARK} recommended")
        table.caption_justify = "left"
    return table


def band_line(band: Band) -> str:
    """Return the band with the interval of each end, `0.0038 (0.0022 to 0.0052) to 0.12 (0.085 to 0.17)`."""
    ends = ((band.low, band.low_interval), (band.high, band.high_interval))
    return " to ".join(
        f"{format_lr(end)} ({format_interval(*around)})" if around else format_lr(end) for end, around in ends
    )


def others_line(picks: Sequence[Pick]) -> str:
    """Return picks in one line, `valley 0.013, slide 0.0091, ...`: for rules that are there to compare with."""
    return ", ".join(f"{pick.rule} {rate_cell(pick)}" for pick in picks)


def rate_cell(pick: Pick) -> str:
    """Write a pick's rate, or a dash if it was refused."""
    return NOTHING if pick.lr is None else format_lr(pick.lr)


def interval_cell(pick: Pick) -> str:
    """Write a pick's interval, or a dash if there is none."""
    return NOTHING if pick.low is None or pick.high is None else format_interval(pick.low, pick.high)


def _cells(pick: Pick, notes: Sequence[str], *, marked: bool) -> tuple[Text, ...]:
    why = pick.why
    for note in notes:
        why = why.replace(f"; {note}", "")
    # Text, not markup: a reason may quote anything, square brackets included.
    return (
        Text(f"{MARK if marked else ' '} {pick.rule}"),
        Text(rate_cell(pick)),
        Text(interval_cell(pick)),
        Text(pick.status.value, style=STYLES[pick.status]),
        Text(why),
    )


def runs_table(runs: Sequence[tuple[str, str, str, str, Pick | None]]) -> Table:
    """Return a table of run folders: folder, model, optimizer, the pick, and how the sweep was cut short."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for title in ("run", "model", "optimizer"):
        table.add_column(title, overflow="fold")
    table.add_column("rate", no_wrap=True, justify="right")
    table.add_column("status")
    for path, model, optimizer, ended, pick in runs:
        rate, status = (NOTHING, NOTHING) if pick is None else (rate_cell(pick), pick.status.value)
        status = status if ended == "done" else f"{status}; {ended}"
        table.add_row(Text(path), Text(model), Text(optimizer), rate, status)
    return table
