"""What lrfinder says if there is nothing to learn: kinds of noise by seeds, and how often a rate is `confident`.

    python tests/benchmarks/noise.py [--seeds 0 1 2 ...] [--steps T]

Each kind is a small perceptron with AdamW. If the targets don't depend on the inputs, a sweep should be refused (status
5), or its rate be `uncertain`; what is `confident` is wrong. Rates that aren't refused are verified, too.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

import lrfinder

KINDS = {
    "random labels": "labels = torch.randint(10, (2400,), generator=g)",
    "labels of one class": "labels = torch.zeros(2400, dtype=torch.long)",
    "random targets": "labels = torch.randn(2400, 1, generator=g)",
    "a constant target": "labels = torch.full((2400, 1), 3.0)",
    "targets in another order": "labels = (x[:, :1] + x[:, 1:2] ** 2)[torch.randperm(2400, generator=g)]",
}
MODEL = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

g = torch.Generator().manual_seed({seed})
x = torch.randn(2400, 20, generator=g)
{labels}
outputs = 10 if labels.dtype == torch.long else 1
loss_fn = nn.CrossEntropyLoss() if outputs == 10 else nn.MSELoss()


def model():
    return nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, outputs))


def train_loader():
    return DataLoader(TensorDataset(x[:2000], labels[:2000]), batch_size=32, shuffle=True)


def val_loader():
    return DataLoader(TensorDataset(x[2000:], labels[2000:]), batch_size=400)


def optimizer(params, lr):
    return torch.optim.AdamW(params, lr=lr)
"""


def measure(labels: str, seed: int, steps: int) -> Iterator[tuple[str, str, str]]:
    """Sweep and verify; yield what was done, its status, and why."""
    with tempfile.TemporaryDirectory() as name:
        file, run = Path(name) / "model.py", Path(name) / "run"
        file.write_text(MODEL.format(seed=seed, labels=labels))
        advice = lrfinder.recommend(lrfinder.sweep(str(file), seed=seed, out=run), steps=steps)
        yield "sweep", advice.status.value, f"{advice.lr} {advice.picks[0].why}"
        if advice.lr is not None:
            checked = lrfinder.verify(run, steps=steps, seed=seed, jobs=1)
            yield "verify", checked.status.value, f"{checked.lr} {checked.pick.why}"


def main() -> int:
    """Print a table, and fail if a rate is confident that can't be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--steps", type=int, default=1600)
    parser.add_argument("--why", action="store_true", help="print the reason of each")
    given = parser.parse_args()
    torch.set_num_threads(1)
    wrong = 0  # rates that are confident, of kinds that allow none
    print("| what there is to learn | | refused | uncertain | confident |\n| --- | --- | --- | --- | --- |")
    for kind, labels in KINDS.items():
        found: dict[str, list[str]] = {"sweep": [], "verify": []}
        for seed in given.seeds:
            for what, status, why in measure(labels, seed, given.steps):
                found[what].append(status)
                if given.why:
                    print(f"{kind}, seed {seed}, {what}: {status}, {why}", file=sys.stderr)
        for what, statuses in found.items():
            counts = [statuses.count(status) for status in ("refused", "uncertain", "confident")]
            wrong += counts[-1]
            print(f"| {kind} | {what} | {' | '.join(map(str, counts))} |", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
