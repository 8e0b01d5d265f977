"""What an update of a script takes in a sweep and in `lrfinder run`, over the plain script: prints a table.

    python tests/benchmarks/script_overhead.py [--rounds 7] [--widths 256 1024]

Each time is the median of a process's updates, in processor time, and the least of processes that take turns, since
what else a machine does only adds: the plain script, `lrfinder run`, and one continuous repeat of `lrfinder sweep`. The
script is a perceptron with a DataLoader and AdamW.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

UPDATES = 400
PROGRAM = """
import statistics, sys, time
import torch
from torch import nn
torch.set_num_threads(1)
width = int(sys.argv[1])
net = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10))
data = torch.utils.data.TensorDataset(torch.randn(64 * {updates}, 64), torch.randint(10, (64 * {updates},)))
loader = torch.utils.data.DataLoader(data, batch_size=64)
optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
times = []
for x, y in loader:
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(net(x), y)
    loss.backward()
    optimizer.step()
    times.append(time.process_time())
    if len(times) == {updates} - 20:
        gaps = [later - earlier for earlier, later in zip(times[20:], times[21:])]
        print("median", 1e6 * statistics.median(gaps), flush=True)
"""
CONFIG = "version: 1\noptimizer: {name: AdamW, lr: 0.001}\nschedule: {name: cosine, steps: 1000}\n"


def median_of(folder: Path, arguments: list[str], log: Path | None = None) -> float:
    """Run a command, and return the median time of an update, in microseconds, that its script has printed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    text = done.stdout if log is None else log.read_text()
    found = re.search(r"^median (\S+)", text, re.MULTILINE)
    if found is None:
        raise SystemExit(f"{arguments}: no time was printed\n{done.stdout}{done.stderr}")
    return float(found[1])


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--widths", type=int, nargs="+", default=[256, 1024])
    given = parser.parse_args()
    lrfinder = [sys.executable, "-m", "lrfinder"]
    sweep = ["--repeats", "1", "--mode", "continuous", "--steps", str(UPDATES), "--max-lr", "1e-2"]
    print("| the plain script's update, us | `lrfinder run` | sweep |")
    print("| --- | --- | --- |")
    for width in given.widths:
        rounds = []
        for _ in range(given.rounds):
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                (folder / "train.py").write_text(PROGRAM.format(updates=UPDATES))
                (folder / "s.yaml").write_text(CONFIG)
                script = ["--script", "train.py", "--", str(width)]
                rounds.append(
                    (
                        median_of(folder, [sys.executable, "train.py", str(width)]),
                        median_of(folder, [*lrfinder, "run", "--config", "s.yaml", *script]),
                        median_of(folder, [*lrfinder, "sweep", *sweep, "--out", "r", *script], folder / "r/script.log"),
                    )
                )
        plain, run, swept = (min(times) for times in zip(*rounds, strict=True))
        print(f"| {plain:.0f} | {run / plain:.3f} | {swept / plain:.3f} |", flush=True)


if __name__ == "__main__":
    main()
