"""How long several rates take that are trained at once, in the time of one: a small perceptron.

    python tests/benchmarks/at_once.py [--rates 16] [--steps 200] [--rounds 5] [--device cuda]

On a CPU processor time of one thread, so that a busy machine tells nearly the same as a quiet one; on a GPU the time
until it is done. Medians of ratios.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lrfinder.api.sweeping.broadcast import Broadcast
from lrfinder.engine.run_queue import RunQueue
from lrfinder.engine.short_runs import ShortRuns
from lrfinder.records import RunPlan, ShortRun
from lrfinder.task.problem import Problem


def perceptron() -> Problem:
    """A net of 2,410 parameters on 1,024 samples."""
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randn(1024, 64, generator=draw)
    data = TensorDataset(inputs, (inputs @ torch.randn(64, 10, generator=draw)).argmax(1))
    return Problem(
        name="perceptron",
        model=lambda: nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)),
        train_loader=lambda: DataLoader(data, batch_size=32, shuffle=True),
        loss_fn=nn.CrossEntropyLoss(),
    )


def timed(make: Callable[[], list[ShortRun]], clock: Callable[[], float]) -> tuple[list[ShortRun], float]:
    """Return what `make` makes, and the seconds that it takes; the losses that it gives have been waited for."""
    began = clock()
    made = make()
    return made, clock() - began


def main() -> None:
    """Take turns, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", type=int, default=16)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    torch.set_num_threads(1)
    problem, device = perceptron(), torch.device(given.device)
    on_cpu = device.type == "cpu"
    clock, near = (time.process_time, 1e-5) if on_cpu else (time.perf_counter, 1e-2)
    if not on_cpu:
        print(f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}\n")
    plans = [RunPlan(lr=10 ** (-5 + 4 * index / given.rates), steps=given.steps) for index in range(given.rates)]

    def one_by_one(count: int) -> list[ShortRun]:
        with ShortRuns(problem, seed=0, device=device, observer=Broadcast(())) as runs:
            return [runs.run(plan) for plan in plans[:count]]

    def at_once() -> list[ShortRun]:
        with RunQueue(problem, seed=0, device=device, observer=Broadcast(())) as runs:
            return list(runs.run_all(plans))

    one_by_one(1)  # the first use of anything costs more
    ratios = []
    for _ in range(given.rounds):
        _, one = timed(lambda: one_by_one(1), clock)
        all_of_them, sequential = timed(lambda: one_by_one(given.rates), clock)
        stacked, together = timed(at_once, clock)
        ratios.append((sequential / one, together / one))
        for alone, member in zip(all_of_them, stacked, strict=True):
            assert alone.loss is not None
            assert member.loss is not None
            assert abs(alone.loss - member.loss) <= near * abs(alone.loss)
    print(f"| {given.rates} rates of {given.steps} updates | in the time of one |", "| --- | --- |", sep="\n")
    for name, column in zip(("one by one", "at once"), zip(*ratios, strict=True), strict=True):
        print(f"| {name} | {statistics.median(column):.1f} |")


if __name__ == "__main__":
    main()
