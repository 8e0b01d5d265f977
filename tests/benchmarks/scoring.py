"""Score learning rates on oracles: tables of the final validation loss of real training runs over a grid of rates.

    regret(rate) = (f(rate) - best) / (untrained - best),    f: mean final validation loss over the oracle's seeds

interpolated linearly in log10(rate). 0 is the best rate of the grid, 1 one that is no better than not training; a run
that diverged counts as untrained.
"""

from __future__ import annotations

import bisect
import json
import math
import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

BADLY_WRONG = 0.1  # a regret above it, stated as confident, is confidently wrong
NEAR_OPTIMAL = 0.02  # a regret up to it can't be told from the best over three seeds


@dataclass(frozen=True, kw_only=True)
class Oracle:
    """Mean final validation loss `losses` at log10(rate) `logs`, and the loss before any update."""

    logs: tuple[float, ...]
    losses: tuple[float, ...]
    untrained: float

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a table as `training.py` writes it."""
        table = json.loads(path.read_text())
        untrained = table["untrained"]
        return cls(
            logs=tuple(math.log10(rate) for rate in table["rates"]),
            losses=tuple(statistics.fmean(_capped(loss, untrained) for loss in row) for row in table["losses"]),
            untrained=untrained,
        )

    def loss(self, rate: float) -> float:
        """Return f(rate); below the grid its first loss, above it the untrained one."""
        x = math.log10(rate)
        if x <= self.logs[0]:
            return self.losses[0]
        if x >= self.logs[-1]:
            return self.untrained
        right = bisect.bisect_right(self.logs, x)
        share = (x - self.logs[right - 1]) / (self.logs[right] - self.logs[right - 1])
        return (1 - share) * self.losses[right - 1] + share * self.losses[right]

    def regret(self, rate: float | None) -> float:
        """Return the regret of a suggested rate; 1 where there is none."""
        if rate is None or not math.isfinite(rate) or rate <= 0:
            return 1.0
        return self.regret_of(self.loss(rate))

    def regret_of(self, loss: float) -> float:
        """Return the regret of a final validation loss; below 0 where it beats the whole grid."""
        best = min(self.losses)
        return min(1.0, (_capped(loss, self.untrained) - best) / (self.untrained - best))

    def holds_near_optimal(self, low: float, high: float) -> bool:
        """Tell whether a rate with a regret up to NEAR_OPTIMAL lies between `low` and `high`."""
        inside = [10**x for x in self.logs if low <= 10**x <= high]
        return any(self.regret(rate) <= NEAR_OPTIMAL for rate in (low, *inside, high))


def _capped(loss: float | None, untrained: float) -> float:
    return untrained if loss is None or not math.isfinite(loss) else min(loss, untrained)


def summary(rows: Iterable[dict[str, Any]], oracles: Path) -> str:
    """Return a Markdown table of what each method reached, the best first.

    A row has `task`, `method`, `seed`, `lr` (None: refused), and may have `final` (the loss of a configured run, scored
    instead of the rate), `status`, `low`, `high`, and `updates`.
    """
    grouped: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        oracle = Oracle.read(oracles / f"{row['task']}.json")
        regret = oracle.regret_of(row["final"]) if row.get("final") is not None else oracle.regret(row["lr"])
        held = oracle.holds_near_optimal(row["low"], row["high"]) if row.get("low") and row.get("high") else None
        grouped[row["method"]].append({**row, "regret": regret, "held": held})
    lines = sorted((_line(method, own) for method, own in grouped.items()), key=lambda line: line[0])
    head = "| method | mean regret | worst | <= 0.02 | confidently wrong | interval met | scatter, decades | updates |"
    return "\n".join([head, "| --- " * 8 + "|", *(text for _, text in lines)])


def per_task(rows: Iterable[dict[str, Any]], oracles: Path) -> str:
    """Return a Markdown table of the mean regret of each method on each task."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        oracle = Oracle.read(oracles / f"{row['task']}.json")
        regret = oracle.regret_of(row["final"]) if row.get("final") is not None else oracle.regret(row["lr"])
        found[row["task"]][row["method"]].append(regret)
    methods = sorted({method for own in found.values() for method in own})
    lines = [f"| task | {' | '.join(methods)} |", "| --- " * (len(methods) + 1) + "|"]
    for task, own in sorted(found.items()):
        cells = (f"{statistics.fmean(own[m]):.3f}" if m in own else "" for m in methods)
        lines.append(f"| {task} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _line(method: str, rows: list[dict[str, Any]]) -> tuple[float, str]:
    by_task: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_task[row["task"]].append(row)
    mean = statistics.fmean(statistics.fmean(row["regret"] for row in own) for own in by_task.values())
    wrong = [row["regret"] > BADLY_WRONG and row.get("status", "confident") == "confident" for row in rows]
    held = [row["held"] for row in rows if row["held"] is not None]
    spread = [
        statistics.pstdev(math.log10(row["lr"]) for row in own if row["lr"])
        for own in by_task.values()
        if sum(row["lr"] is not None for row in own) > 1
    ]
    updates = [row["updates"] for row in rows if row.get("updates") is not None]
    cells = (
        method,
        f"{mean:.4f}",
        f"{max(row['regret'] for row in rows):.3f}",
        f"{statistics.fmean(row['regret'] <= NEAR_OPTIMAL for row in rows):.0%}",
        f"{statistics.fmean(wrong):.0%}",
        f"{statistics.fmean(held):.0%}" if held else "",
        f"{statistics.fmean(spread):.3f}" if spread else "",
        f"{statistics.fmean(updates):.0f}" if updates else "",
    )
    return mean, f"| {' | '.join(cells)} |"
