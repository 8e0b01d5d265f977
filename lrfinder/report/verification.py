"""The table of a verification: each length's runs, lowest rate first, the best of each marked."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from lrfinder.formatting import format_loss, format_lr
from lrfinder.options import STOP_TEXT
from lrfinder.records import ShortRun
from lrfinder.report.picks import MARK, NOTHING


def best_losses(runs: Sequence[ShortRun]) -> dict[tuple[str, int], float]:
    """Return the lowest loss of each schedule and length."""
    best: dict[tuple[str, int], float] = {}
    for run in runs:
        key = (run.plan.schedule, run.plan.steps)
        if run.loss is not None:
            best[key] = min(best.get(key, run.loss), run.loss)
    return best


def trials_table(runs: Sequence[ShortRun]) -> Table:
    """Return a row for each run, by schedule, length and rate; the lowest loss of each length is marked."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for title in ("updates", "schedule", "rate", "loss"):
        table.add_column(title, justify="left" if title == "schedule" else "right", no_wrap=True)
    table.add_column("ending")
    best = best_losses(runs)
    for run in sorted(runs, key=lambda run: (run.plan.steps, run.plan.schedule, run.plan.lr)):
        lowest = run.loss is not None and run.loss == best[run.plan.schedule, run.plan.steps]
        table.add_row(
            str(run.plan.steps),
            run.plan.schedule,
            format_lr(run.plan.lr),
            f"{MARK if lowest else ' '} {NOTHING if run.loss is None else format_loss(run.loss)}",
            STOP_TEXT[run.stop],
            style="bold" if lowest else "",
        )
    return table
