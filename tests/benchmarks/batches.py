"""How the best rate follows the batch: real training at two batches, beside what `recommend --target-batch` says.

    python tests/benchmarks/batches.py FILE TASK_FILE ... [--times 4] [--updates 600]

A task's own batch is the large one, and 1 / `times` of it the small one, on as many samples: `updates` with the small
one. The best rate of each is the lowest point of a grid of real runs (four rates a decade, three seeds), by a parabola
through it and its neighbours. From the small batch's best rate the critical batch is measured with three seeds, as
`lrfinder verify --critical-batch` does it, and what the law makes of that is looked up in the large batch's grid. What
was measured is kept in FILE, a JSON document a line.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from training import SEEDS, load, train, validate

from lrfinder.advice.another_batch import LAWS
from lrfinder.api.critical_batch import noise_at
from lrfinder.api.sweeping.model_file import load_source_problem
from lrfinder.records import RUN_STEPS, RunPlan
from lrfinder.search.critical_batch import CriticalBatch, critical_batch
from lrfinder.store import Source

AROUND = 2  # rates of the grid on each side of the best one, at least
FIRST = range(-8, 2)  # half decades of a first look, one seed each
LOWEST, HIGHEST = -24, 8  # quarter decades


def grid(task: ModuleType, centre: float, *, batch: int, updates: int) -> dict[int, float]:
    """Return the mean final losses by the quarter decade, at least AROUND of them on each side of the lowest."""
    start, losses = untrained(task), dict[int, float]()
    wanted = list(range(round(4 * centre) - 3, round(4 * centre) + 4))
    while wanted:
        for k in wanted:
            runs = (train(task, 10 ** (k / 4), seed, steps=updates, batch_size=batch) for seed in SEEDS)
            losses[k] = statistics.fmean(min(loss, start) for loss in runs)
        best = min(losses, key=losses.__getitem__)
        near = range(max(LOWEST, best - AROUND), min(HIGHEST, best + AROUND) + 1)
        wanted = [k for k in near if k not in losses]
    return losses


def lowest(losses: dict[int, float]) -> float:
    """Return log10 of the rate at the vertex of the parabola through the lowest point and its neighbours."""
    k = min(losses, key=losses.__getitem__)
    left, middle, right = losses.get(k - 1, math.inf), losses[k], losses.get(k + 1, math.inf)
    bend = left - 2 * middle + right
    return (k + (0.5 * (left - right) / bend if 0 < bend < math.inf else 0)) / 4


def lost(losses: dict[int, float], x: float, start: float) -> float:
    """Return the share of the fall that 10**x loses, linear between the grid's rates; NaN outside of it."""
    least = min(losses.values())
    for k in sorted(losses)[:-1]:
        if k <= 4 * x <= k + 1:
            loss = losses[k] + (losses[k + 1] - losses[k]) * (4 * x - k)
            return (loss - least) / (start - least)
    return math.nan


def untrained(task: ModuleType) -> float:
    """Return the loss before any update."""
    torch.manual_seed(0)
    return validate(task, task.model())


def measure(path: Path, times: int, updates: int) -> dict[str, Any]:
    """Return what training says of one task, and the critical batches that three seeds give."""
    task = load(path)
    large = next(iter(task.train_loader()))[0].shape[0]
    small, start = max(2, large // times), untrained(task)
    looked = {k: train(task, 10 ** (k / 2), 0, steps=updates // 3, batch_size=small) for k in FIRST}
    few = grid(task, min(looked, key=looked.__getitem__) / 2, batch=small, updates=updates)
    many = grid(task, lowest(few) + math.log10(times) / 2, batch=large, updates=round(updates * small / large))
    source = Source(reference=str(path), batch_size=small)
    plan = RunPlan(lr=10 ** lowest(few), steps=RUN_STEPS, schedule="constant")
    problems = {seed: load_source_problem(source, seed=seed) for seed in SEEDS}
    noises = [noise_at(it, plan, device="cpu", seed=seed, batch=small)[1] for seed, it in problems.items()]
    found = [critical_batch(noise) for noise in noises if noise is not None]
    return {
        "task": path.stem,
        "optimizer": type(task.optimizer(task.model().parameters(), 0.1)).__name__,
        "batches": (small, large),
        "start": start,
        "small": few,
        "large": many,
        "critical": [(one.samples, one.low, one.high) for one in found],
    }


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of the table."""
    head = ("task", "batches", "critical batch, three seeds", "best rate, times", "the law says", "lost", "unchanged")
    yield f"| {' | '.join(head)} |"
    yield "| --- " * len(head) + "|"
    for row in rows:
        small, large = row["batches"]
        few, many = ({int(k): loss for k, loss in row[name].items()} for name in ("small", "large"))
        before, start = lowest(few), row["start"]
        criticals = [CriticalBatch(samples=samples, low=low, high=high) for samples, low, high in row["critical"]]
        law = LAWS.get(row["optimizer"])
        factors = [] if law is None else [law.factor(small, large, one.samples) for one in criticals]
        losses = [lost(many, before + math.log10(factor), start) for factor in factors]
        cells = (
            row["task"],
            f"{small} to {large}",
            ", ".join(f"{one.samples:.0f}" for one in criticals),
            f"{10 ** (lowest(many) - before):.1f}",
            ", ".join(f"{factor:.1f}" for factor in factors) or f"no law for {row['optimizer']}",
            ", ".join(f"{loss:.3f}" for loss in losses),
            f"{lost(many, before, start):.3f}",
        )
        yield f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("tasks", type=Path, nargs="+")
    parser.add_argument("--times", type=int, default=4)
    parser.add_argument("--updates", type=int, default=600)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = [json.loads(line) for line in given.file.read_text().splitlines()] if given.file.exists() else []
    known = {row["task"] for row in rows}
    for path in given.tasks:
        if path.stem not in known:
            row = json.loads(json.dumps(measure(path, given.times, given.updates)))
            with given.file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            rows.append(row)
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
