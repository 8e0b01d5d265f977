"""A sweep's result as people use it: a table, a picture, and what a notebook shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lrfinder.advice import Request, advise, gather_evidence
from lrfinder.api.drawn import Drawn
from lrfinder.options import STOP_TEXT
from lrfinder.records import Chart, Cost, SweepResult

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Sweep(SweepResult, Drawn):
    """What `lrfinder.sweep` returns, even if the curve is useless: `status` says how it ended.

    `cost` is what was spent on it in this process.
    """

    cost: Cost | None = field(default=None, compare=False)

    def __str__(self) -> str:
        from lrfinder.report.figure import headline, subtitle

        return (
            f"Sweep of {headline(self)}: {subtitle(self)}; {self.updates} updates, {STOP_TEXT[self.status]}. "
            "lrfinder.recommend(...) picks the rate."
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row per measurement: repeat, step, lr, loss (the columns of curve.csv)."""
        import pandas as pd

        rows = [
            (trace.repeat, step, lr, loss)
            for trace in self.traces
            for step, (lr, loss) in enumerate(zip(trace.lrs, trace.losses, strict=True))
        ]
        return pd.DataFrame(rows, columns=["repeat", "step", "lr", "loss"])

    def _chart(self) -> Chart:
        return advise(gather_evidence(self), Request()).chart(self)
