"""How long it takes to keep and to put back a model of 25 million parameters with Adam's state.

    python tests/benchmarks/snapshot.py [--rounds 7] [--device cpu]

Beside it what people do: `deepcopy` of both state_dicts and loading them back, and torch.save and torch.load in memory.
"""

from __future__ import annotations

import argparse
import copy
import io
import multiprocessing
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from lrfinder.engine.restore.reachable import reachable_state
from lrfinder.engine.restore.snapshot import Snapshot
from lrfinder.task.problem import Problem


def made(device: str) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A model of 25.2 million parameters, with an optimizer that has made an update."""
    model = nn.Sequential(nn.Linear(1024, 3072), nn.Linear(3072, 3072), nn.Linear(3072, 3072), nn.Linear(3072, 1000))
    model = model.to(device)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.randn(2, 1024, device=device)).mean().backward()
    optimizer.step()
    optimizer.zero_grad()
    return model, optimizer


def ours(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """lrfinder's snapshot of the live objects, taken and put back."""
    Snapshot(reachable_state(Problem(name="p", model=model, optimizer=optimizer))).rewind()


def deep_copy(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Copies of both state_dicts, loaded again."""
    kept = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    model.load_state_dict(kept[0])
    optimizer.load_state_dict(kept[1])


def saved(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """torch.save and torch.load, in memory."""
    buffer = io.BytesIO()
    torch.save((model.state_dict(), optimizer.state_dict()), buffer)
    buffer.seek(0)
    kept = torch.load(buffer)
    model.load_state_dict(kept[0])
    optimizer.load_state_dict(kept[1])


WAYS: dict[str, Callable[[nn.Module, torch.optim.Optimizer], None]] = {
    "lrfinder": ours,
    "deepcopy of state_dicts": deep_copy,
    "torch.save and torch.load": saved,
}


def measure(way: str, device: str) -> tuple[float, float]:
    """Return the wall and the processor seconds of one time, in a process that has done nothing like it before."""
    model, optimizer = made(device)
    began, busy = time.perf_counter(), time.process_time()
    WAYS[way](model, optimizer)
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - began, time.process_time() - busy


def main() -> None:
    """Take turns, each time in a new process, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
    for _ in range(given.rounds):
        for name in WAYS:
            # A process's second copy lies in memory that the first one has touched: only the first one tells.
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                took[name].append(pool.apply(measure, (name, given.device)))
    print(
        "| 25 M parameters with Adam, kept and put back | ms | ms of processor time |", "| --- | --- | --- |", sep="\n"
    )
    for name, rounds in took.items():
        wall, processor = (1e3 * statistics.median(column) for column in zip(*rounds, strict=True))
        print(f"| {name} | {wall:.0f} | {processor:.0f} |")


if __name__ == "__main__":
    main()
