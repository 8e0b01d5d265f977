"""How often `lrfinder check` cries wolf, and whether it sees planted faults: a row for each task, one for each fault.

    python tests/benchmarks/checks.py TASK.py [TASK.py ...] [--seeds 20]

A task is a model file. Its baseline is a sweep with one seed, its config what that recommends for 400 updates. A false
alarm is a check with another seed that says "not sane"; "can't tell" is counted apart. Each fault is checked with and
without --baseline. Seconds are those of the processor.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import lrfinder
from lrfinder.advice import check_rate
from lrfinder.api.check import CheckRun, check_model, judge
from lrfinder.api.sweeping.settings import make_source
from lrfinder.config import ScheduleConfig, load_schedule
from lrfinder.options import CHECK_SECONDS
from lrfinder.store import load_run

FIRST = 100  # the seeds of checks begin here: others than the sweep's
RATES = (10.0, 1 / 10, 30.0, 1 / 30, 1000.0, 1 / 1000)  # times the recommended rate, as after a mistake with a unit
COMMON = """
import torch
import {task} as task
from {task} import *

def changed(loader, data):
    loader.__dict__["dataset"] = data(loader.dataset)  # with the same order of indices
    return loader

def train_loader(*args, **more):
    return changed(task.train_loader(*args, **more), Changed)

def val_loader():
    return changed(task.val_loader(), Changed)

class Changed(torch.utils.data.Dataset):
    def __init__(self, data):
        self.data, self.order = data, torch.randperm(len(data), generator=torch.Generator().manual_seed(len(data)))

    def __len__(self):
        return len(self.data)
"""
# Faults that change the model file. Each is told to `check` by its losses alone.
FAULTS = {
    "loss x 100": """
import torch
import {task} as task
from {task} import *

if hasattr(task, "training_step"):
    def training_step(model, batch):
        return 100 * task.training_step(model, batch)
else:
    def loss_fn(output, target):
        return 100 * task.loss_fn(output, target)
""",
    "another optimizer": """
import torch
from {task} import *
from {task} import optimizer as own

def optimizer(params, lr):
    params = list(params)
    other = torch.optim.AdamW if isinstance(own(params, lr), torch.optim.SGD) else torch.optim.SGD
    return other(params, lr=lr)
""",
    "inputs x 255, not normalized": COMMON
    + """
    def __getitem__(self, index):
        return tuple(255 * part if n == 0 else part for n, part in enumerate(self.data[index]))
""",
    "labels shuffled": COMMON
    + """
    def __getitem__(self, index):
        other = self.order[index]
        return *self.data[index][:-1], self.data[other if other.ndim else int(other)][-1]
""",
}
WORDS = {True: "missed", False: "caught", None: "can't tell"}


def checked(task: Path, config: Path, baseline: Path, seed: int) -> tuple[CheckRun, float]:
    """Return the answer of a check and the seconds that it took."""
    began = time.process_time()
    source = make_source(str(task), device="cpu")
    done = check_model(source, config, baseline=baseline, max_seconds=CHECK_SECONDS, seed=seed)
    return done, time.process_time() - began


def applies(fault: str, task: Path) -> bool:
    """Tell whether a task can have that fault: whether it has labels, or inputs that are numbers."""
    first = next(iter(__import__(task.stem).train_loader()))
    if fault == "labels shuffled":
        return len(first) > 1
    return not fault.startswith("inputs") or first[0].is_floating_point()


def other_rate(done: CheckRun, config: ScheduleConfig, factor: float, folder: Path) -> tuple[bool | None, bool | None]:
    """Return the answers to a rate `factor` times as high, without and with the baseline, to a sweep that was made."""
    optimizer = config.optimizer.model_copy(update={"lr": config.optimizer.lr * factor})
    broken = config.model_copy(update={"optimizer": optimizer})
    before = load_run(folder)
    again = judge(lambda _: done.sweep, done.sweep.settings, lambda: broken, before, folder)
    return check_rate(done.sweep, broken).sane, again.verdict.sane


def row(task: Path, seeds: int, folder: Path, found: dict[str, list[tuple[bool | None, bool | None]]]) -> str:
    """Return the table's row of one task, and add what was said of each fault, without and with a baseline."""
    lrfinder.sweep(task, out=folder / "run", seed=0, device="cpu")
    advice = lrfinder.recommend(folder / "run", steps=400)
    if advice.schedule is None:
        return f"| {task.stem} | no rate: {advice.status.value} | | | |"
    config = folder / "found.yaml"
    advice.save(config)
    made = [checked(task, config, folder / "run", FIRST + seed) for seed in range(seeds)]
    loaded = load_schedule(config)
    alone = [check_rate(done.sweep, loaded).sane for done, _ in made]
    answers = [done.verdict.sane for done, _ in made]
    caught: dict[str, tuple[bool | None, bool | None]] = {}
    for factor in RATES:
        name = f"rate x {factor:g}" if factor > 1 else f"rate / {1 / factor:g}"
        caught[name] = other_rate(made[0][0], loaded, factor, folder / "run")
    for number, (fault, text) in enumerate(FAULTS.items()):
        if applies(fault, task):
            broken = folder / f"{task.stem}_{number}.py"
            broken.write_text(text.replace("{task}", task.stem), encoding="utf-8")
            done, _ = checked(broken, config, folder / "run", FIRST)
            caught[fault] = check_rate(done.sweep, loaded).sane, done.verdict.sane
    for fault, both in caught.items():
        found[fault].append(both)
    missed = [fault for fault, (_, sane) in caught.items() if sane is not False]
    seconds = [took for _, took in made]
    counts = f"{alone.count(False)}, {answers.count(False)} of {seeds} | {answers.count(None)}"
    said = ", ".join(f"{fault} ({WORDS[caught[fault][1]]})" for fault in missed) or "none"
    return f"| {task.stem} | {counts} | {said} | {statistics.median(seconds):.1f}, {max(seconds):.1f} |"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    found: dict[str, list[tuple[bool | None, bool | None]]] = defaultdict(list)
    titles = (
        "task",
        "false alarms: alone, with --baseline",
        "can't tell",
        "faults not caught with it",
        "seconds: median, most",
    )
    print(f"| {' | '.join(titles)} |", "| --- " * len(titles) + "|", sep="\n")
    for task in given.tasks:
        sys.path.insert(0, str(task.parent.resolve()))
        with tempfile.TemporaryDirectory() as folder:
            print(row(task.resolve(), given.seeds, Path(folder), found), flush=True)
    print("\n| fault | tasks | caught, can't tell, missed: alone | with --baseline |", "| --- " * 4 + "|", sep="\n")
    for fault, both in found.items():
        counts = [[sane[way] for sane in both] for way in (0, 1)]
        told = [", ".join(str(one.count(sane)) for sane in (False, None, True)) for one in counts]
        print(f"| {fault} | {len(both)} | {told[0]} | {told[1]} |")


if __name__ == "__main__":
    main()
