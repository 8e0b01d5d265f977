"""What an update of a script takes more in a sweep and in `lrfinder run` than without lrfinder: prints a table.

    python tests/benchmarks/script_overhead.py [--rounds 3] [--widths 96 256 1024]

Processes apart differ by more than is measured here. So each process is its own measure: the script takes off what
lrfinder has put on torch, and puts it on again, in turn, BLOCK updates each. The difference between neighbouring blocks
hardly hangs on what else a machine does. The time is that of the script's thread, the mean of the block's updates, so
that what is written every 50 ms counts. The script is a perceptron with a DataLoader and AdamW.

What torch was before is remembered by a `sitecustomize`, which Python imports before anything else. The rows are
`lrfinder run`, one continuous repeat of `lrfinder sweep`, and as the floor a rate that two hooks set and put back.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

UPDATES = 4000
BLOCK = 20
BEFORE = """
import torch
from torch.utils.data import dataloader

owners = [torch.autograd, torch.optim.Optimizer, torch.nn.Module, torch.utils.data.DataLoader]
plain = [(owner, dict(vars(owner))) for owner in [*owners, dataloader._BaseDataLoaderIter]]
"""
PROGRAM = """
import statistics, sys, time
import sitecustomize
import torch
from torch import nn
from torch.optim import optimizer as hooks
torch.set_num_threads(1)
width, by_hand = int(sys.argv[1]), len(sys.argv) > 2
net = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10))
data = torch.utils.data.TensorDataset(torch.randn(64 * {updates}, 64), torch.randint(10, (64 * {updates},)))
loader = torch.utils.data.DataLoader(data, batch_size=64)
optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
kept = []
def set_rates(optimizer, args, kwargs):
    kept[:] = [group["lr"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["lr"] = 1e-3
def put_back(optimizer, args, kwargs):
    for group, rate in zip(optimizer.param_groups, kept):
        group["lr"] = rate
if by_hand:
    hooks.register_optimizer_step_pre_hook(set_rates)
    hooks.register_optimizer_step_post_hook(put_back)
tables = [hooks._global_optimizer_pre_hooks, hooks._global_optimizer_post_hooks]
blocks, ends, on, replaced = {{True: [], False: []}}, [], True, None
for made, (x, y) in enumerate(loader):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(net(x), y)
    loss.backward()
    optimizer.step()
    ends.append(time.thread_time())
    if len(ends) == {block}:
        blocks[on].append((ends[-1] - ends[1]) / ({block} - 2))
        if replaced is None:
            replaced = [
                (owner, name, value, vars(owner)[name])
                for owner, values in sitecustomize.plain
                for name, value in values.items()
                if vars(owner)[name] is not value
            ]
            registered = [dict(table) for table in tables]
        on = not on
        for owner, name, plain, watched in replaced:
            setattr(owner, name, watched if on else plain)
        for table, entries in zip(tables, registered):
            table.clear()
            table.update(entries if on else {{}})
        ends = []
    if made == {updates} - 20:
        pairs = list(zip(blocks[True], blocks[False]))[1:]
        plain = statistics.median(plain for _, plain in pairs)
        more = statistics.median(watched - plain for watched, plain in pairs)
        print("measured", 1e6 * plain, 1e6 * more, sum(map(len, registered)), flush=True)
"""
CONFIG = f"version: 1\noptimizer: {{name: AdamW, lr: 0.001}}\nschedule: {{name: cosine, steps: {UPDATES}}}\n"


def measured(folder: Path, arguments: list[str], log: Path | None = None) -> tuple[float, float]:
    """Run a command; return what a plain update of its script takes, and what it takes more, in microseconds."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{folder}:{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    text = done.stdout if log is None else log.read_text()
    found = re.search(r"^measured (\S+) (\S+) 2$", text, re.MULTILINE)  # both hooks were there
    if found is None:
        raise SystemExit(f"{arguments}: no time was printed\n{done.stdout}{done.stderr}")
    return float(found[1]), float(found[2])


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--widths", type=int, nargs="+", default=[96, 256, 1024])
    given = parser.parse_args()
    lrfinder = [sys.executable, "-m", "lrfinder"]
    sweep = ["--repeats", "1", "--mode", "continuous", "--steps", str(UPDATES), "--max-lr", "1e-2"]
    print("| | the plain update, us | more, us | ratio |")
    print("| --- | --- | --- | --- |")
    for width in given.widths:
        found: dict[str, list[tuple[float, float]]] = {"`lrfinder run`": [], "sweep": [], "by hand": []}
        for _ in range(given.rounds):
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                (folder / "sitecustomize.py").write_text(BEFORE)
                (folder / "train.py").write_text(PROGRAM.format(updates=UPDATES, block=BLOCK))
                (folder / "s.yaml").write_text(CONFIG)
                script = ["--script", "train.py", "--", str(width)]
                run = measured(folder, [*lrfinder, "run", "--config", "s.yaml", *script])
                swept = measured(folder, [*lrfinder, "sweep", *sweep, "--out", "r", *script], folder / "r/script.log")
                by_hand = measured(folder, [sys.executable, "train.py", str(width), "by hand"])
                for times, time in zip(found.values(), (run, swept, by_hand), strict=True):
                    times.append(time)
        for name, times in found.items():
            plain, more = (statistics.median(column) for column in zip(*times, strict=True))
            print(f"| {name} | {plain:.0f} | {more:.0f} | {1 + more / plain:.3f} |", flush=True)


if __name__ == "__main__":
    main()
