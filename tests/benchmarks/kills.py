"""Kill real sweeps at random moments, and say what is left of each: `make kills`.

Each sweep is a process of its own, in a mode and with a number of loader workers drawn from the seed; it gets SIGKILL,
SIGTERM or SIGINT at a moment drawn from its whole life. It survived where its status is the contract's, its files are
read, nothing lies about in the run folder or beside it, no process is left, and the sweep, carried on, ends with the
very bytes of one that nobody disturbed.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers.processes import environment

MODEL = """
import time
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

X = torch.randn(256, 8)
Y = (X @ torch.randn(8, 3)).argmax(1)

class Slow(TensorDataset):
    def __getitem__(self, index):
        time.sleep(0.0005)
        return super().__getitem__(index)

def model():
    return nn.Sequential(nn.Linear(8, 16), nn.Dropout(0.1), nn.Linear(16, 3))

loss_fn = nn.CrossEntropyLoss()

def train_loader():
    return DataLoader(Slow(X, Y), batch_size=8, shuffle=True, num_workers=WORKERS)

def optimizer(params, lr):
    return torch.optim.SGD(params, lr=lr, momentum=0.9)
"""
SIGNALS = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 143, signal.SIGINT: 130}
KINDS = tuple((mode, workers) for mode in ("continuous", "restart", "auto") for workers in (0, 2))
FILES = ("run.json", "curve.csv", "runs.jsonl")
KNOWN = {*FILES, "cost.json", "curve.png"}
Start = Callable[[Path, tuple[str, ...]], "subprocess.Popen[bytes]"]


@dataclass
class Tally:
    """What was seen of all kills."""

    kills: int = 0
    survived: int = 0
    unreadable: int = 0
    litter: int = 0
    orphans: int = 0
    unequal: int = 0
    wrong_status: int = 0
    resumed: int = 0
    in_pythons_start: int = 0  # SIGINT before Python had read its own modules: it ends with 1, as any script would
    seconds: list[float] = field(default_factory=list)  # from SIGINT or SIGTERM to the end of the last process
    told: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return the table's lines."""
        counts = ("unreadable", "litter", "orphans", "unequal", "wrong_status")
        times = (
            f"median {statistics.median(self.seconds):.2f} s, most {max(self.seconds):.2f} s" if self.seconds else "-"
        )
        return [
            f"survived: {self.survived}/{self.kills}",
            *(f"{name.replace('_', ' ')}: {getattr(self, name)}" for name in counts),
            f"of the survived, while Python itself began (its status 1, no line of ours run): {self.in_pythons_start}",
            f"carried on, equal to an undisturbed sweep: {self.resumed - self.unequal}/{self.resumed}",
            f"to the end after SIGINT or SIGTERM ({len(self.seconds)}): {times}",
            *self.told,
        ]


def real_process(folder: Path, args: tuple[str, ...]) -> subprocess.Popen[bytes]:
    """Start the command line as people do, in a process group of its own."""
    with (folder.parent / f"{folder.name}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "lrfinder", *args],
            cwd=folder,
            env=environment(),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def sweep_of(mode: str) -> tuple[str, ...]:
    return ("sweep", "model.py", "--out", "run", "--mode", mode, "--steps", "20", "--run-steps", "10", "--quiet")


class Campaign:
    """Kills of sweeps of each kind, compared with an undisturbed one of that kind."""

    def __init__(self, root: Path, start: Start, kinds: tuple[tuple[str, int], ...] = KINDS) -> None:
        self._root, self._start, self._kinds = root, start, kinds
        self._whole: dict[tuple[str, int], tuple[dict[str, bytes], float]] = {}
        self.tally = Tally()

    def folder(self, name: str, workers: int) -> Path:
        folder = self._root / name
        folder.mkdir()
        (folder / "model.py").write_text(MODEL.replace("WORKERS", str(workers)))
        return folder

    def whole(self, mode: str, workers: int) -> tuple[dict[str, bytes], float]:
        """Return what an undisturbed sweep writes, and how long it lives."""
        if (mode, workers) not in self._whole:
            folder = self.folder(f"whole-{mode}-{workers}", workers)
            began = time.monotonic()
            status = self._start(folder, sweep_of(mode)).wait()
            if status not in {0, 5}:
                raise RuntimeError(f"an undisturbed sweep ended with {status}")
            self._whole[mode, workers] = contents(folder / "run"), time.monotonic() - began
        return self._whole[mode, workers]

    def kill(self, number: int, seed: int) -> None:
        """Kill one sweep and look at what is left."""
        draw = random.Random(f"{seed} {number}")  # noqa: S311
        mode, workers = draw.choice(self._kinds)
        sent = list(SIGNALS)[number % len(SIGNALS)]
        whole, lives = self.whole(mode, workers)
        folder = self.folder(f"kill-{number}", workers)
        process = self._start(folder, sweep_of(mode))
        time.sleep(draw.uniform(0.0, lives))
        began = time.monotonic()
        process.send_signal(sent)
        status = process.wait()
        log = folder.parent / f"{folder.name}.log"
        faults = [] if gone(process.pid) else ["orphans"]
        if sent != signal.SIGKILL and status == SIGNALS[sent]:
            self.tally.seconds.append(time.monotonic() - began)
        if status == 1 and sent == signal.SIGINT and in_pythons_start(log):
            self.tally.in_pythons_start += 1
        elif not self.expected(status, sent):
            faults.append("wrong_status")
        faults += self.looked_at(folder, whole)
        self.tally.kills += 1
        self.tally.survived += not faults
        if faults and log.exists():
            self.tally.told += [f"    {line}" for line in log.read_text(errors="replace").splitlines()[-5:]]
        for fault in faults:
            setattr(self.tally, fault, getattr(self.tally, fault) + 1)
            self.tally.told.append(f"  kill {number}: {fault}: {sent.name}, {mode}, {workers} workers, status {status}")
        if not faults:
            shutil.rmtree(folder)

    def expected(self, status: int, sent: signal.Signals) -> bool:
        """Tell whether a status is the signal's own, or of a sweep that had ended; before Python runs our code, raw."""
        return status in {SIGNALS[sent], 0, 5, -sent}

    def looked_at(self, folder: Path, whole: dict[str, bytes]) -> list[str]:
        """Return what is wrong with what is left; carry the sweep on where anything was measured."""
        from lrfinder.errors import LrfinderError, RunError
        from lrfinder.store import load_run

        run = folder / "run"
        faults = []
        beside = {path.name for path in folder.iterdir()} - {"model.py", "run", "__pycache__"}
        if beside or (run.exists() and {path.name for path in run.iterdir()} - KNOWN):
            faults.append("litter")
        if not (run / "run.json").exists():  # before the first loss: then there is an empty folder at most
            return faults
        try:
            load_run(run)
        except RunError as error:
            self.tally.told.append(f"  {error}")
            return [*faults, "unreadable"]
        self.tally.resumed += 1
        try:
            carry_on(folder)
        except LrfinderError as error:
            self.tally.told.append(f"  {error}")
            return [*faults, "unequal"]
        return faults if contents(run) == whole else [*faults, "unequal"]


def in_pythons_start(log: Path) -> bool:
    """Tell whether a log is that of a Python which was interrupted before it could run anything."""
    said = log.read_text(errors="replace") if log.exists() else ""
    # While it imports `site`, and for `-m` `runpy`: it says so, and leaves with status 1 whatever the exception is.
    return any(sign in said for sign in ("Fatal Python error: init_import_site", "Could not import runpy module"))


def carry_on(folder: Path) -> None:
    import lrfinder

    before = Path.cwd()
    os.chdir(folder)
    try:
        lrfinder.resume("run")
    finally:
        os.chdir(before)


def contents(run: Path) -> dict[str, bytes]:
    return {name: (run / name).read_bytes() for name in FILES if (run / name).exists()}


def gone(group: int, within_s: float = 2.0) -> bool:
    """Tell whether a whole process group has ended."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        campaign = Campaign(Path(root), real_process)
        for number in range(asked.kills):
            campaign.kill(number, asked.seed)
            print(f"\r{number + 1}/{asked.kills}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        print("\n".join(campaign.tally.lines()))
        sys.exit(campaign.tally.survived != campaign.tally.kills)


if __name__ == "__main__":
    main()
