"""The tables of a comparison: the runs with their picks, and what is not the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from lrfinder.report.picks import NOTHING, STYLES, interval_cell, rate_cell

if TYPE_CHECKING:
    from lrfinder.advice.comparison import Comparison


def comparison_table(comparison: Comparison) -> Table:
    """Return a row for each run."""
    table = _table()
    for title in ("run", "model", "optimizer", "batch", "rate", "interval", "status", "updates"):
        right = title in {"batch", "rate", "interval", "updates"}
        table.add_column(title, justify="right" if right else "left", overflow="fold")
    for run in comparison.runs:
        setup, pick = run.result.setup, run.pick
        names = (Text(run.name), Text(setup.model), Text(setup.optimizer.name))  # Text, not markup: they are strangers'
        batch = NOTHING if setup.batch_size is None else str(setup.batch_size)
        status = Text(pick.status.value, style=STYLES[pick.status])
        table.add_row(*names, batch, rate_cell(pick), interval_cell(pick), status, str(run.advice.updates))
    return table


def differences_table(comparison: Comparison) -> Table:
    """Return a row for each condition that differs, with its value in each run."""
    table = _table()
    for title in ("what is not the same", *(run.name for run in comparison.runs)):
        table.add_column(Text(title), overflow="fold")
    for difference in comparison.differences:
        table.add_row(*(Text(text) for text in (difference.what, *difference.values)))
    return table


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
