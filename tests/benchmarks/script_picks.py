"""The pick from a training script beside that from the same training as a model file: a row for each task.

    python tests/benchmarks/script_picks.py TASK.py [TASK.py ...] [--seeds 0 1 2]

A task is a model file. The script is a plain loop over its loader with its model, loss and optimizer, and no held-out
data; the model file has them. Each is swept with the same seeds and recommended for 400 updates. The regret is that of
the oracle of real runs (`scoring.py`).
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import torch
from scoring import Oracle
from training import STEPS, load

import lrfinder
from lrfinder.records import Pick, Status

PROGRAM = """
import itertools, sys
import torch

sys.path.insert(0, {folder!r})
import {name} as task

torch.set_num_threads(1)
net = task.model()
optimizer = task.optimizer(net.parameters(), 0.001)
loader = task.train_loader()
net.train()
for _ in itertools.repeat(None):
    for batch in loader:
        optimizer.zero_grad()
        if hasattr(task, "training_step"):
            loss = task.training_step(net, batch)
        else:
            loss = task.loss_fn(net(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
"""


def picks(task: Path, seed: int, folder: Path) -> tuple[Pick, ...]:
    """Return the pick from the model file, and from the script."""
    script = folder / "train.py"
    script.write_text(PROGRAM.format(folder=str(task.parent), name=task.stem), encoding="utf-8")
    module = load(task)
    made = module.optimizer([torch.nn.Parameter(torch.ones(1))], 0.001)
    which = type(made).__name__ if hasattr(module, "_pretrained") else None  # another optimizer makes steps before
    lrfinder.sweep(task, seed=seed, out=folder / f"file-{seed}", device="cpu")
    lrfinder.sweep_script(script, which=which, seed=seed, out=folder / f"script-{seed}")
    found = (lrfinder.recommend(folder / f"{kind}-{seed}", steps=STEPS) for kind in ("file", "script"))
    return tuple(advice.picks[0] for advice in found)


def overlap(one: Pick, other: Pick) -> bool:
    """Tell whether the intervals of both picks have a rate in common."""
    ends = [one.low, one.high, other.low, other.high]
    return None not in ends and max(one.low, other.low) <= min(one.high, other.high)


def oracle_of(task: Path) -> Path:
    """Return the file of a task's oracle for runs of STEPS updates."""
    return task.parent.parent / "oracle" / f"{task.stem}.json"


def row(task: Path, seeds: list[int]) -> tuple[str, float | None]:
    """Return the table's row, and the median factor between the picks; None if a sweep gave none."""
    with tempfile.TemporaryDirectory() as name:
        made = [picks(task, seed, Path(name)) for seed in seeds]
    oracle = Oracle.read(oracle_of(task))
    factors = [script.lr / file.lr for file, script in made if file.lr is not None and script.lr is not None]
    middle = statistics.median(factors) if len(factors) == len(made) else None
    cells = [task.stem]
    for kind in (0, 1):
        rates = [pair[kind].lr for pair in made]
        known = [f"{rate:.3g}" for rate in rates if rate is not None]
        refused = [f"{len(rates) - len(known)} refused"] if len(known) < len(rates) else []
        sure = sum(pair[kind].status is Status.CONFIDENT for pair in made)
        cells += [", ".join([*known, *refused]), str(sure), f"{statistics.fmean(map(oracle.regret, rates)):.3f}"]
    cells += ["" if middle is None else f"{middle:.2f}", str(sum(overlap(*pair) for pair in made))]
    return f"| {' | '.join(cells)} |", middle


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    torch.set_num_threads(1)
    kinds = [f"{kind}: {what}" for kind in ("file", "script") for what in ("picks", "confident", "mean regret")]
    titles = ("task", *kinds, "script / file, median", "intervals that overlap")
    print(f"| {' | '.join(titles)} |", "| --- " * len(titles) + "|", sep="\n", flush=True)
    factors = []
    for task in filter(lambda task: oracle_of(task.resolve()).exists(), given.tasks):
        line, factor = row(task.resolve(), given.seeds)
        print(line, flush=True)
        factors += [] if factor is None else [factor]
    for most in (1.4, 1.6):
        near = sum(abs(math.log(factor)) <= math.log(most) for factor in factors)
        print(f"\nwithin a factor of {most}: {near} of {len(factors)}")


if __name__ == "__main__":
    main()
