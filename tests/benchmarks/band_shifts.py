"""Does `lrfinder check --baseline` cry wolf, and does it see planted faults? A row for each task.

    python tests/benchmarks/band_shifts.py TASK.py [TASK.py ...] [--seeds 20]

A false alarm is a sweep of the task with another seed than the baseline's that counts as moved. Each fault is planted
in the model file, and swept with two seeds of its own.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from lrfinder.advice import Request, advise, gather_evidence, settings_around
from lrfinder.advice.checks.baseline import compare_bands
from lrfinder.api.check import REPEATS
from lrfinder.api.sweeping.settings import make_source
from lrfinder.api.sweeping.sweep_run import sweep_model
from lrfinder.records import SweepResult

RATE = 0.01  # whose surroundings are swept: the default range
FAULT_SEEDS = 2
BEFORE = """
import torch
import {task} as task
from {task} import *

"""
STEP = """
def optimizer(params, lr):
    made = task.optimizer(params, lr)
    kind = type(made)

    def step(self, closure=None):
        rates = [group["lr"] for group in self.param_groups]
        for group in self.param_groups:
            group["lr"] *= {factor}
        try:
            return kind.step(self, closure)
        finally:
            for group, rate in zip(self.param_groups, rates):
                group["lr"] = rate

    made.__class__ = type(kind.__name__, (kind,), {"step": step})
    return made
"""
LOSS = """
if hasattr(task, "training_step"):
    def training_step(model, batch):
        return 100 * task.training_step(model, batch)
else:
    def loss_fn(output, target):
        return 100 * task.loss_fn(output, target)
"""
OPTIMIZER = """
def optimizer(params, lr):
    params = list(params)
    adam = type(task.optimizer(params, lr)).__name__.startswith("Adam")
    return torch.optim.SGD(params, lr=lr, momentum=0.9) if adam else torch.optim.AdamW(params, lr=lr)
"""
INPUTS = """
def model():
    def unscaled(_, inputs):
        return tuple(255 * each if each.is_floating_point() else each for each in inputs)

    made = task.model()
    made.register_forward_pre_hook(unscaled)
    return made
"""
LABELS = """
def loss_fn(output, target):
    return task.loss_fn(output, target[torch.randperm(len(target))])
"""
FAULTS = {
    "updates x 10": STEP.replace("{factor}", "10"),
    "updates / 10": STEP.replace("{factor}", "0.1"),
    "loss x 100": LOSS,
    "another optimizer": OPTIMIZER,
    "inputs x 255": INPUTS,
    "labels shuffled": LABELS,
}


def swept(task: Path, seed: int) -> SweepResult:
    """Return a sweep as `lrfinder check` makes it."""
    settings = settings_around(RATE, repeats=REPEATS, seed=seed, max_seconds=300)
    return sweep_model(make_source(str(task), device="cpu"), settings)


def moved(now: SweepResult, before: SweepResult) -> bool | None:
    """Return the answer to `--baseline`; None if this sweep found no band, and its losses tell nothing."""
    shift = compare_bands(advise(gather_evidence(now), Request()).band, now, before, name="before")
    return None if shift is None else shift.moved


def fits(task: Path, fault: str) -> bool:
    """Tell whether the fault can be planted: embeddings have no inputs to scale, autoencoders no labels."""
    text = task.read_text()
    return not (fault == "inputs x 255" and "Embedding" in text) and not (
        fault == "labels shuffled" and "def training_step" in text
    )


def row(task: Path, seeds: int, folder: Path) -> str:
    """Return the table's row of one task."""
    first, baseline = 0, swept(task, 0)
    while advise(gather_evidence(baseline), Request()).band is None:  # nobody takes such a baseline
        first += 1
        baseline = swept(task, first)
    answers = [moved(swept(task, first + 1 + seed), baseline) for seed in range(seeds)]
    cells = [f"{answers.count(True)} of {seeds}", str(answers.count(None))]
    for number, (fault, text) in enumerate(FAULTS.items()):
        if not fits(task, fault):
            cells.append("-")
            continue
        broken = folder / f"{task.stem}_{number}.py"
        broken.write_text(BEFORE.format(task=task.stem) + text, encoding="utf-8")
        caught = [moved(swept(broken, 100 + seed), baseline) for seed in range(FAULT_SEEDS)]
        cells.append(f"{caught.count(True)} + {caught.count(None)}")
    return f"| {task.stem} | {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    given = parser.parse_args()
    titles = ("task", "false alarms", "can't tell", *FAULTS)
    print(f"| {' | '.join(titles)} |", "| --- " * len(titles) + "|", sep="\n")
    for task in given.tasks:
        sys.path.insert(0, str(task.parent.resolve()))
        with tempfile.TemporaryDirectory() as folder:
            print(row(task.resolve(), given.seeds, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
