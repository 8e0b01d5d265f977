"""The best rate of a run that keeps it constant, beside the best of one that decays. Prints the table.

    python tests/benchmarks/constant.py FILE [--jobs N] [--tasks TASK_FILE ...]    what FILE has already is kept

Real runs of the oracles' length, warm-up and seeds. Regret is on one scale, that of the runs that decay: 0 is the best
rate of their grid, 1 no better than not training. Each task's ratio is predicted by those of the others alone.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from scoring import Oracle
from training import GRID, SEEDS, STEPS, WARMUP, load, train

HERE = Path(__file__).resolve().parent
CHEAP = (
    "tasks/digits_mlp_sgd tasks/digits_logistic_sgd tasks/digits_deep_relu_sgd tasks/friedman_mlp_adam "
    "tasks/digits_autoencoder_rmsprop tasks/digits_lstm_adam tasks/topics_embedding_adagrad "
    "own/tasks/diabetes_large_loss_adam own/tasks/digits_vae_adam own/tasks/brackets_gru_rmsprop "
    "long/tasks/stream_teacher_adamw long/tasks/stream_clusters_sgd"
)
BELOW, ABOVE = 1.75, 0.5  # decades around the best rate of a run that decays
NEAR_BEST = 0.01  # of the fall: the middle of the rates that lose no more is the best one


def warm_up(steps: int) -> Any:
    """The factor of a run that keeps its rate once it is warm."""
    warm = max(1, round(WARMUP * steps))
    return lambda update: min(1.0, (update + 1) / warm)


def oracle_of(path: Path) -> Oracle:
    """Return the oracle of the runs that decay."""
    return Oracle.read(path.parent.parent / "oracle" / f"{path.stem}.json")


def one(job: tuple[Path, float, int]) -> dict[str, Any]:
    """Make one run at a constant rate."""
    torch.set_num_threads(1)
    path, rate, seed = job
    loss = train(load(path), rate, seed, factor=warm_up(STEPS))
    return {"task": path.stem, "lr": rate, "seed": seed, "loss": loss if math.isfinite(loss) else None}


def best_of(oracle: Oracle) -> float:
    """Return log10 of the middle of the near-best rates around the lowest loss, on lines between the grid's."""
    lowest = min(range(len(oracle.logs)), key=lambda at: oracle.losses[at])
    limit = oracle.losses[lowest] + NEAR_BEST * (oracle.untrained - oracle.losses[lowest])
    ends = []
    for step in (-1, 1):
        at = lowest
        while 0 <= at + step < len(oracle.logs) and oracle.losses[at + step] <= limit:
            at += step
        x = oracle.logs[at]
        if 0 <= at + step < len(oracle.logs):
            x += (
                (oracle.logs[at + step] - x)
                * (limit - oracle.losses[at])
                / (oracle.losses[at + step] - oracle.losses[at])
            )
        ends.append(x)
    return sum(ends) / 2


def constant_oracle(rows: list[dict[str, Any]], untrained: float) -> Oracle:
    """Return the losses of runs at constant rates as an oracle."""
    rates = sorted({row["lr"] for row in rows})
    means = [
        statistics.fmean(
            untrained if row["loss"] is None else min(row["loss"], untrained) for row in rows if row["lr"] == rate
        )
        for rate in rates
    ]
    return Oracle(logs=tuple(math.log10(rate) for rate in rates), losses=tuple(means), untrained=untrained)


def table(paths: list[Path], rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of the table."""
    found = {}
    for path in paths:
        decayed = oracle_of(path)
        held = constant_oracle([row for row in rows if row["task"] == path.stem], decayed.untrained)
        found[path.stem] = (decayed, held, best_of(decayed), best_of(held))
    shifts = {name: at_constant - at_decay for name, (_, _, at_decay, at_constant) in found.items()}
    head = (
        "best decaying",
        "best constant",
        "ratio",
        "regret: constant at its best",
        "at the decaying one's",
        "at the others' mean ratio",
    )
    yield f"| task | {' | '.join(head)} |"
    yield "| --- " * (len(head) + 1) + "|"
    columns: list[tuple[float, ...]] = []
    for name, (decayed, held, at_decay, at_constant) in found.items():
        others = statistics.fmean(shift for other, shift in shifts.items() if other != name)
        regrets = tuple(decayed.regret_of(held.loss(10**x)) for x in (at_constant, at_decay, at_decay + others))
        columns.append(regrets)
        cells = (
            f"{10**at_decay:.3g}",
            f"{10**at_constant:.3g}",
            f"{10 ** shifts[name]:.2f}",
            *(f"{r:.3f}" for r in regrets),
        )
        yield f"| {name} | {' | '.join(cells)} |"
    mean, spread = statistics.fmean(shifts.values()), statistics.stdev(shifts.values())
    means = (f"{statistics.fmean(column):.3f}" for column in zip(*columns, strict=True))
    yield f"| mean (geometric) | | | {10**mean:.2f} | {' | '.join(means)} |"
    half = 1.645 * spread * math.sqrt(1 + 1 / len(shifts))
    yield f"90 % of other tasks, if they are like these: {10 ** (mean - half):.2f} to {10 ** (mean + half):.2f}"


def main() -> None:
    """Make the runs that are missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--tasks", type=Path, nargs="+", default=[HERE / f"{name}.py" for name in CHEAP.split()])
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    paths = [path.resolve() for path in given.tasks]
    rows = [json.loads(line) for line in given.file.read_text().splitlines()] if given.file.exists() else []
    made = {(row["task"], row["lr"], row["seed"]) for row in rows}
    jobs = [
        (path, rate, seed)
        for path in paths
        for rate in GRID
        if -BELOW - 1e-6 <= math.log10(rate) - best_of(oracle_of(path)) <= ABOVE + 1e-6
        for seed in SEEDS
        if (path.stem, rate, seed) not in made
    ]
    given.file.parent.mkdir(parents=True, exist_ok=True)
    with multiprocessing.get_context("spawn").Pool(given.jobs) as pool, given.file.open("a") as log:
        for row in pool.imap_unordered(one, jobs):
            rows.append(row)
            print(json.dumps(row), file=log, flush=True)
    print("\n".join(table(paths, rows)))


if __name__ == "__main__":
    main()
