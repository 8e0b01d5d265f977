"""How often `lrfinder check` cries wolf, and how often it sees a planted fault: prints a row for each task.

    python tests/benchmarks/checks.py TASK.py [TASK.py ...] [--seeds 5]

A task is a model file. Its config is what one seed recommends for 400 updates. A false alarm is a check with another
seed that says "not sane"; "can't tell" is counted apart. The planted faults are configs whose rate is 30 and 1,000
times too high or too low, as after a mistake with a unit or with the batch size.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import lrfinder
from lrfinder.advice import CheckResult
from lrfinder.config import dump

FIRST = 100  # the seeds of checks begin here: others than the sweep's
FAULTS = (30.0, 1000.0, 1 / 30, 1 / 1000)  # times the recommended rate


def checked(task: Path, config: Path, seed: int) -> tuple[CheckResult, float]:
    """Return the answer of a check and the seconds that it took."""
    began = time.monotonic()
    return lrfinder.check(task, config, seed=seed, device="cpu"), time.monotonic() - began


def row(task: Path, seeds: int, folder: Path) -> str:
    """Return the table's row of one task."""
    lrfinder.sweep(task, out=folder / "run", seed=0, device="cpu")
    advice = lrfinder.recommend(folder / "run", steps=400)
    if advice.schedule is None:
        return f"| {task.stem} | no rate: {advice.status.value} | | | |"
    advice.save(folder / "good.yaml")
    made = [checked(task, folder / "good.yaml", FIRST + seed) for seed in range(seeds)]
    answers = [answer.sane for answer, _ in made]
    caught = []
    for factor in FAULTS:
        optimizer = advice.schedule.optimizer.model_copy(update={"lr": advice.schedule.optimizer.lr * factor})
        broken = folder / "broken.yaml"
        dump(advice.schedule.model_copy(update={"optimizer": optimizer}), broken)
        caught.append(checked(task, broken, FIRST)[0].sane)
    seconds = statistics.median(took for _, took in made)
    counts = f"{answers.count(False)} of {seeds} | {answers.count(None)}"
    return f"| {task.stem} | {counts} | {caught.count(False)} + {caught.count(None)} of {len(caught)} | {seconds:.1f} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    titles = ("task", "false alarms", "can't tell", "faults: not sane + can't tell", "seconds of a check")
    print(f"| {' | '.join(titles)} |", "| --- " * len(titles) + "|", sep="\n")
    for task in given.tasks:
        sys.path.insert(0, str(task.parent.resolve()))
        with tempfile.TemporaryDirectory() as folder:
            print(row(task.resolve(), given.seeds, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
