"""Fail on each rank of real two-process sweeps in each way that a process can; say what the job did.

    python tests/benchmarks/lost_ranks.py [--kind hang]

Each job is `lrfinder sweep --nproc 2`. In update 30 the rank raises, is killed, exits, hangs, or gets SIGTERM. The job
must end within the limit with the status of the contract, name the rank and the update, leave no process behind, and
keep a run folder that `load_run` reads, with the points before.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

UPDATE = 30  # in which the rank fails
STEP_TIMEOUT_S = 3.0
LATE = 12  # updates that the curve may lack: losses are averaged a few at a time
MODEL = """
import os, signal, time
import torch
from torch import nn

calls = 0

def model():
    return nn.Linear(4, 1)

def train_loader():
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(8, 4, generator=generator), torch.randn(8, 1, generator=generator)) for _ in range(16)]

def fail():
    open("failed", "w").close()
    kind = os.environ["FAULT"]
    if kind == "raise":
        raise ValueError("boom")
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "exit":
        os._exit(3)
    if kind == "hang":
        time.sleep(600)
    if kind == "term":
        os.kill(os.getpid(), signal.SIGTERM)

def training_step(model, batch):
    global calls
    calls += 1
    time.sleep(0.03)
    if calls == 31 and os.environ.get("RANK") == os.environ["FAULTY"]:
        fail()
    return nn.functional.mse_loss(model(batch[0]), batch[1])
"""
# The exit status, what must be said, and the seconds in which the job must end after the failure.
EXPECTED = {
    "raise": (3, r"rank {rank} of 2 failed first in update 30: ValueError: boom|your code failed", 5.0),
    "kill": (4, r"rank {rank} of 2 failed first in update (29|30)[^#]*ended by SIGKILL", 5.0),
    "exit": (4, r"rank {rank} of 2 failed first in update (29|30)[^#]*ended with status 3", 5.0),
    "hang": (4, r"rank {rank} of 2 failed first in update 30: it has made no progress", STEP_TIMEOUT_S + 8.0),
    "term": (143, r"", 5.0),
}


def job(kind: str, rank: int, folder: Path, *, slower: float = 1.0) -> tuple[bool, str]:
    """Run one job; return whether all is as promised, and what was seen in one line.

    It may take `slower` times as long as is promised, as beside other work.
    """
    (folder / "model.py").write_text(MODEL)
    run = folder / "run"
    environment = {**os.environ, "FAULT": kind, "FAULTY": str(rank), "OMP_NUM_THREADS": "1"}
    environment["LRFINDER_STEP_TIMEOUT"] = str(STEP_TIMEOUT_S)
    command = [sys.executable, "-m", "lrfinder", "sweep", "model.py", "--nproc", "2", "--device", "cpu"]
    command += ["--mode", "continuous", "--repeats", "1", "--out", str(run)]
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    family: dict[int, psutil.Process] = {}
    while process.poll() is None:
        with contextlib.suppress(psutil.Error):
            family |= {child.pid: child for child in psutil.Process(process.pid).children(recursive=True)}
        time.sleep(0.02)
    failed = folder / "failed"
    took = time.time() - failed.stat().st_mtime if failed.exists() else math.inf
    _, errors = process.communicate()
    orphans = [child.pid for child in family.values() if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    status, said, limit = EXPECTED[kind]
    points = len((run / "curve.csv").read_text().splitlines()) - 1 if (run / "curve.csv").exists() else 0
    found = re.search(said.format(rank=rank), errors)
    good = {
        "status": process.returncode == status,
        "said": found is not None,
        "time": took <= slower * limit,
        "no orphan": not orphans,
        "kept": points >= UPDATE - LATE and readable(run),
    }
    bad = [name for name, fine in good.items() if not fine]
    line = f"status {process.returncode}, {took:.1f} s after the failure, {points} points, orphans {orphans}"
    return not bad, line + (f"; NOT: {', '.join(bad)}\n{errors[-1500:]}" if bad else "")


def readable(run: Path) -> bool:
    """Return whether the run folder can be read."""
    from lrfinder.store import load_run

    return len(load_run(run).traces) == 1


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kind", choices=list(EXPECTED))
    parser.add_argument("--rank", type=int, choices=[0, 1])
    chosen = parser.parse_args()
    held = total = 0
    for kind in [chosen.kind] if chosen.kind else EXPECTED:
        for rank in [0, 1] if chosen.rank is None else [chosen.rank]:
            with tempfile.TemporaryDirectory() as folder:
                good, line = job(kind, rank, Path(folder))
            held, total = held + good, total + 1
            print(f"{kind:5} on rank {rank}: {'as promised' if good else 'FAILED'}: {line}", flush=True)
    print(f"{held} of {total} as promised")
    sys.exit(held != total)


if __name__ == "__main__":
    main()
