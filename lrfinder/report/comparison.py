"""The tables of a comparison: the runs with their picks, and what is not the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

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
        name, right = title in {"run", "model", "optimizer"}, title in {"batch", "rate", "updates"}
        overflow: Literal["fold", "ellipsis"] = "fold" if name else "ellipsis"
        table.add_column(
            title, justify="right" if right else "left", overflow=overflow, no_wrap=not name and title != "interval"
        )
    for run in comparison.runs:
        setup, pick = run.result.setup, run.pick
        names = (Text(run.name), Text(setup.model), Text(setup.optimizer.name))  # Text, not markup: they are strangers'
        batch = NOTHING if setup.batch_size is None else str(setup.batch_size)
        status = Text(pick.status.value, style=STYLES[pick.status])
        table.add_row(*names, batch, rate_cell(pick), interval_cell(pick), status, str(run.advice.updates))
    return table


def differences_table(comparison: Comparison) -> Table:
    """Return a row for each value of a condition that differs, with the runs that have it."""
    table = _table()
    for title in ("what is not the same", "value", "runs"):
        table.add_column(title, overflow="fold")
    names = [run.name for run in comparison.runs]
    for difference in comparison.differences:
        for value in dict.fromkeys(difference.values):
            runs = ", ".join(name for name, own in zip(names, difference.values, strict=True) if own == value)
            first = value == difference.values[0]
            table.add_row(difference.what if first else "", Text(value), Text(runs))
    return table


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
