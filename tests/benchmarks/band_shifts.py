"""Does `lrfinder check --baseline` cry wolf, and does it see rates that are ten times off? A row for each task.

    python tests/benchmarks/band_shifts.py TASK.py [TASK.py ...] [--seeds 12]

A false alarm is a pair of sweeps of one task, with other seeds, whose bands count as moved. The planted fault is an
optimizer of the same name whose updates are ten times as large, or a tenth.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from pathlib import Path

from lrfinder.advice import Request, advise, gather_evidence, settings_around
from lrfinder.advice.checks.baseline import compare_bands
from lrfinder.api.check import REPEATS
from lrfinder.api.sweeping.settings import make_source
from lrfinder.api.sweeping.sweep_run import sweep_model
from lrfinder.records import SweepResult

RATE = 0.01  # whose surroundings are swept: the default range
FAULT = """
import {task} as task
from {task} import *

def optimizer(params, lr):
    made = task.optimizer(params, lr)
    kind = type(made)

    def step(self, closure=None):
        rates = [group["lr"] for group in self.param_groups]
        for group in self.param_groups:
            group["lr"] *= {factor}
        try:
            return kind.step(self, closure)
        finally:
            for group, rate in zip(self.param_groups, rates):
                group["lr"] = rate

    made.__class__ = type(kind.__name__, (kind,), {{"step": step}})
    return made
"""


def swept(task: Path, seed: int) -> SweepResult:
    """Return a sweep as `lrfinder check` makes it."""
    settings = settings_around(RATE, repeats=REPEATS, seed=seed, max_seconds=300)
    return sweep_model(make_source(str(task), device="cpu"), settings)


def moved(now: SweepResult, before: SweepResult) -> bool | None:
    """Return the answer to `--baseline`; None if a sweep found no band."""
    bands = [advise(gather_evidence(result), Request()).band for result in (now, before)]
    if bands[0] is None or bands[1] is None:
        return None
    return compare_bands(bands[0], now, before, name="before").moved


def row(task: Path, seeds: int, folder: Path) -> str:
    """Return the table's row of one task."""
    sweeps = [swept(task, seed) for seed in range(seeds)]
    pairs = [moved(first, second) for first, second in itertools.combinations(sweeps, 2)]
    caught = []
    for number, factor in enumerate((10, 0.1)):
        broken = folder / f"{task.stem}_{number}.py"
        broken.write_text(FAULT.format(task=task.stem, factor=factor), encoding="utf-8")
        caught += [moved(swept(broken, seeds + seed), sweeps[seed]) for seed in range(3)]
    alarms = f"{pairs.count(True)} of {len(pairs)} | {pairs.count(None)}"
    return f"| {task.stem} | {alarms} | {caught.count(True)} + {caught.count(None)} of {len(caught)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, default=12)
    given = parser.parse_args()
    titles = ("task", "false alarms", "can't tell", "updates ten times off: moved + can't tell")
    print(f"| {' | '.join(titles)} |", "| --- " * len(titles) + "|", sep="\n")
    for task in given.tasks:
        sys.path.insert(0, str(task.parent.resolve()))
        with tempfile.TemporaryDirectory() as folder:
            print(row(task.resolve(), given.seeds, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
