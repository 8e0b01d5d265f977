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
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for title in ("run", "model", "optimizer"):
        table.add_column(title, overflow="fold")
    for title in ("batch", "rate", "interval"):
        table.add_column(title, justify="right")
    table.add_column("status")
    table.add_column("updates", justify="right")
    for run in comparison.runs:
        setup, pick = run.result.setup, run.pick
        table.add_row(
            Text(run.name),
            Text(setup.model),
            Text(setup.optimizer.name),
            NOTHING if setup.batch_size is None else str(setup.batch_size),
            rate_cell(pick),
            interval_cell(pick),
            Text(pick.status.value, style=STYLES[pick.status]),
            str(run.advice.updates),
        )
    return table


def differences_table(comparison: Comparison) -> Table:
    """Return a row for each condition that differs, with its value in each run."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("what is not the same")
    for run in comparison.runs:
        table.add_column(Text(run.name), overflow="fold")
    for difference in comparison.differences:
        table.add_row(difference.what, *(Text(value) for value in difference.values))
    return table
