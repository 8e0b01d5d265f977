"""What captured updates save on a GPU: an update of `lrfinder.sweep` with and without `graph`, over a bare loop's.

    python tests/benchmarks/graphs.py [--device cuda] [--rounds 5] [--models tiny cnn transformer]

The bare loop is eager, never waits for the device, and keeps its losses there. Each time is that of a long sweep less
that of a short one, so that what a sweep costs once (capturing among it) is left out; medians over rounds, in which
the three take turns. Prints the card, torch's version, and why updates weren't captured, if they weren't.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import speed_models
import torch

import lrfinder

SHORT, LONG = 200, 1200
MODELS = ("tiny", "cnn", "transformer")


def _model(names: dict[str, Any]) -> torch.nn.Module:
    return names["model"]().model  # without the notes of the time, which a capture would not take


def bare(names: dict[str, Any], updates: int, device: str) -> str:
    """Train eagerly, with the rate set before each update."""
    torch.manual_seed(0)
    model = _model(names).to(device)
    optimizer = names["optimizer"](model.parameters(), 1e-7)
    batches = itertools.chain.from_iterable(itertools.repeat(names["train_loader"]))
    losses = torch.zeros(updates, device=device)
    for number, (inputs, targets) in enumerate(itertools.islice(batches, updates)):
        optimizer.param_groups[0]["lr"] = 1e-7 * 1.01**number
        optimizer.zero_grad()
        loss = names["loss_fn"](model(inputs.to(device, non_blocking=True)), targets.to(device, non_blocking=True))
        loss.backward()
        optimizer.step()
        losses[number] = loss.detach()
    torch.cuda.synchronize()
    return ""


def swept(names: dict[str, Any], updates: int, device: str, *, graph: str) -> str:
    """Sweep, and return why updates weren't captured."""
    done = lrfinder.sweep(
        lambda: _model(names),
        train_loader=names["train_loader"],
        loss_fn=names["loss_fn"],
        optimizer=names["optimizer"],
        max_lr=1e-2,
        steps=updates,
        repeats=1,
        mode="continuous",
        device=device,
        graph=graph,
    )
    return done.setup.graph or ""


def seconds(work: Callable[[int], str]) -> tuple[float, str]:
    """Return the seconds of an update, and what the work said."""
    took, said = [], ""
    for updates in (SHORT, LONG):
        began = time.perf_counter()
        said = work(updates)
        took.append(time.perf_counter() - began)
    return (took[1] - took[0]) / (LONG - SHORT), said


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    given = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit(f"torch {torch.__version__} finds no CUDA device here: graphs are CUDA's")
    os.environ.setdefault("SPEED_WORKERS", "0")
    print(f"{torch.cuda.get_device_name(given.device)}, torch {torch.__version__}\n")
    print("| model | updates | microseconds each | over bare | captured |\n| --- | --- | --- | --- | --- |")
    for model in given.models:
        names = getattr(speed_models, model)()
        works: dict[str, Callable[[int], str]] = {
            "bare loop": lambda updates, names=names: bare(names, updates, given.device),
            "sweep": lambda updates, names=names: swept(names, updates, given.device, graph="off"),
            "sweep, graph": lambda updates, names=names: swept(names, updates, given.device, graph="auto"),
        }
        rounds = [{name: seconds(work) for name, work in works.items()} for _ in range(given.rounds)]
        for name in works:
            own = [one[name][0] for one in rounds]
            ratio = statistics.median(one[name][0] / one["bare loop"][0] for one in rounds)
            said = rounds[-1][name][1] or ("yes" if "graph" in name else "")
            print(f"| {model} | {name} | {1e6 * statistics.median(own):.0f} | {ratio:.2f} | {said} |", flush=True)


if __name__ == "__main__":
    main()
