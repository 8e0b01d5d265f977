"""Real training runs of the benchmark's tasks, and the oracles made of them.

python tests/benchmarks/training.py TASK_FILE ... [--steps T] [--jobs N]    write oracle/<task>.json beside tasks/
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import math
import multiprocessing
import statistics
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

GRID = tuple(10 ** (exponent / 4) for exponent in range(-20, 7))  # 1e-5 to 31.6, four rates a decade
SEEDS = (0, 1, 2)
STEPS = 400
WARMUP = 0.05  # of the run
BLOWN_UP = 100.0  # times the first loss, and above it: such a run has diverged


@lru_cache
def load(path: Path) -> ModuleType:
    """Import a task file."""
    spec = importlib.util.spec_from_file_location(f"benchmark_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def loss_of(task: ModuleType, model: torch.nn.Module, batch: Any) -> torch.Tensor:
    """Return the task's loss of a batch."""
    if hasattr(task, "training_step"):
        return task.training_step(model, batch)
    inputs, targets = batch
    return task.loss_fn(model(inputs), targets)


def validate(task: ModuleType, model: torch.nn.Module) -> float:
    """Return the mean validation loss over samples."""
    model.eval()
    total, count = 0.0, 0
    with torch.no_grad():
        for batch in task.val_loader():
            total += loss_of(task, model, batch).item() * len(batch[0])
            count += len(batch[0])
    model.train()
    return total / count


def forever(loader: Any) -> Iterator[Any]:
    """Yield batches, epoch after epoch."""
    while True:
        yield from loader


def warm_up_and_linear(steps: int) -> Callable[[int], float]:
    """The oracle's shape, as a factor of the peak: a linear warm-up over WARMUP of the run, then linear to zero."""
    warm = max(1, round(WARMUP * steps))
    return lambda update: min((update + 1) / warm, max(0.0, (steps - update) / (steps - warm)))


def train(
    task: ModuleType,
    rate: float,
    seed: int,
    *,
    steps: int = STEPS,
    factor: Callable[[int], float] | None = None,
    optimizer: Callable[[Any, float], torch.optim.Optimizer] | None = None,
    batch_size: int | None = None,
) -> float:
    """Train from scratch at a peak `rate` and return the final validation loss; infinite where the run diverged."""
    torch.manual_seed(seed)
    model = task.model()
    updater = (optimizer or task.optimizer)(model.parameters(), rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(updater, factor or warm_up_and_linear(steps))
    first = math.nan
    loader = task.train_loader() if batch_size is None else task.train_loader(batch_size)
    for step, batch in enumerate(itertools.islice(forever(loader), steps)):
        loss = loss_of(task, model, batch)
        if step % 10 == 0:
            value = loss.item()
            first = value if step == 0 else first
            if not math.isfinite(value) or abs(value) > BLOWN_UP * (abs(first) + 1):
                return math.inf
        updater.zero_grad()
        loss.backward()
        updater.step()
        schedule.step()
    if hasattr(updater, "eval"):  # schedule-free optimizers train one set of weights and evaluate another
        updater.eval()
    value = validate(task, model)
    return value if math.isfinite(value) else math.inf


def mean_final(task: ModuleType, rate: float, untrained: float, **options: Any) -> float:
    """Return the mean final validation loss over the oracle's seeds; a diverged run counts as untrained."""
    return statistics.fmean(min(train(task, rate, seed, **options), untrained) for seed in SEEDS)


def _one(job: tuple[Path, float | None, int, int]) -> float:
    torch.set_num_threads(1)
    path, rate, seed, steps = job
    task = load(path)
    if rate is not None:
        return train(task, rate, seed, steps=steps)
    torch.manual_seed(seed)
    return validate(task, task.model())


def write_oracle(path: Path, steps: int, jobs: int) -> Path:
    """Train at every rate of the grid with every seed, and write the table."""
    work = [(path, rate, seed, steps) for rate in (None, *GRID) for seed in SEEDS]
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        losses = pool.map(_one, work, chunksize=2)
    rows = [losses[index : index + len(SEEDS)] for index in range(0, len(losses), len(SEEDS))]
    name = path.stem if steps == STEPS else f"{path.stem}@{steps}"
    table = {
        "task": name,
        "steps": steps,
        "seeds": list(SEEDS),
        "untrained": statistics.fmean(rows[0]),
        "rates": list(GRID),
        "losses": [[loss if math.isfinite(loss) else None for loss in row] for row in rows[1:]],
    }
    file = path.parent.parent / "oracle" / f"{name}.json"
    file.write_text(json.dumps(table) + "\n")
    return file


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", nargs="+", type=Path)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    for task_file in given.tasks:
        print(write_oracle(task_file.resolve(), given.steps, given.jobs), flush=True)
