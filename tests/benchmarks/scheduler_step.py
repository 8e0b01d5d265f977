"""What a step of the scheduler costs, beside torch's LambdaLR with the plainest lambda of the same schedule.

python tests/benchmarks/scheduler_step.py       prints the table; `make bench-scheduler`
"""

from __future__ import annotations

import math
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch

from lrfinder.config import OptimizerConfig, ScheduleConfig
from lrfinder.schedules import Constant, Cosine, Linear, Schedule, Step, Table

T = 100_000
ROUNDS, CALLS = 15, 2000  # interleaved: what slows the machine slows both
# The lambdas are what a careful user would write for LambdaLR: nothing but the formula.
CASES: list[tuple[Schedule, Callable[[int], float]]] = [
    (Constant(steps=T), lambda t: 1.0),
    (Linear(steps=T), lambda t: 1 - t / T),
    (Cosine(steps=T), lambda t: (1 + math.cos(math.pi * t / T)) / 2),
    (Step(steps=T, every=1000, factor=0.5), lambda t: 0.5 ** (t // 1000)),
    (
        Table(steps=T, points=((0, 0.0), (1000, 1.0), (T, 0.0))),
        lambda t: t / 1000 if t < 1000 else (T - t) / (T - 1000),
    ),
]


def optimizer_of(groups: int) -> torch.optim.Optimizer:
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(groups)]
    return torch.optim.SGD([{"params": [weight], "lr": 0.1} for weight in weights])


def seconds(scheduler: Any) -> float:
    start = time.perf_counter()
    for _ in range(CALLS):
        scheduler.step()
    return (time.perf_counter() - start) / CALLS


def measure(schedule: Schedule, plain: Callable[[int], float], groups: int) -> tuple[float, float, float]:
    """Return the medians of our time, torch's, and their ratio, round by round."""
    config = ScheduleConfig(optimizer=OptimizerConfig(name="SGD", lr=0.1), schedule=schedule)
    rounds = []
    for _ in range(ROUNDS):
        ours = seconds(config.scheduler(optimizer_of(groups)))
        theirs = seconds(torch.optim.lr_scheduler.LambdaLR(optimizer_of(groups), plain))
        rounds.append((ours, theirs, ours / theirs))
    first, second, third = (statistics.median(column) for column in zip(*rounds, strict=True))
    return first, second, third


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # torch's, about the order of optimizer.step() and scheduler.step()
    torch.set_num_threads(1)
    print("| schedule | param groups | ours, µs | LambdaLR, µs | ratio |\n| --- | --- | --- | --- | --- |")
    for groups in (1, 8):
        for schedule, plain in CASES:
            ours, theirs, ratio = measure(schedule, plain, groups)
            print(f"| {schedule.name} | {groups} | {ours * 1e6:.1f} | {theirs * 1e6:.1f} | {ratio:.2f} |")
