"""How far verified rates can be trusted: what is stated of them against what the oracles say. Prints the tables.

    python tests/benchmarks/calibration.py FOLDER [--lengths 400 1600 6400 25600] [--seeds 10 11 ...] [--jobs N]

Every task that has an oracle of such a length is swept, recommended and verified, five seeds each. Run folders and
their trials stay in FOLDER: the next call makes only what is missing, so a changed rule is measured in seconds on the
same recordings. The tasks of `long/` stand apart: README.md says which of them a rule was found on.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import shutil
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import torch
from scoring import BADLY_WRONG, Oracle
from training import STEPS

HERE = Path(__file__).resolve().parent
ROOMS = ("tasks", "own/tasks", "long/tasks")
LEVELS = (0.5, 0.8, 0.9)
HURT = 0.02  # of the attainable fall: a verified rate that loses so much more than the one before was made worse
Row = dict[str, Any]
Job = tuple[Path, int, tuple[int, ...], Path]


def oracle_of(task: Path, steps: int) -> Path:
    """Return the file of a task's oracle at a length."""
    return task.parent.parent / "oracle" / f"{task.stem if steps == STEPS else f'{task.stem}@{steps}'}.json"


def measure(job: Job) -> list[Row]:
    """Sweep one task with one seed, verify its rate at each length, and score both."""
    task, seed, lengths, folder = job
    torch.set_num_threads(1)
    with contextlib.redirect_stderr(None):
        return list(_measured(task, seed, lengths, folder))


def _measured(task: Path, seed: int, lengths: tuple[int, ...], folder: Path) -> Iterator[Row]:
    import lrfinder

    swept = folder / f"{task.stem}-{seed}"
    if not (swept / "run.json").exists():
        shutil.rmtree(swept, ignore_errors=True)
        lrfinder.sweep(str(task), seed=seed, out=swept, device="cpu")
    for steps in lengths:
        run = folder / f"{task.stem}-{seed}@{steps}"
        if not run.exists():
            shutil.copytree(swept, run)
        oracle = Oracle.read(oracle_of(task, steps))
        advice = lrfinder.recommend(run, steps=steps)
        row = {"task": task.stem, "room": task.parent.parent.name, "seed": seed, "steps": steps}
        row |= {"asked": advice.lr, "before": oracle.regret(advice.lr), "advised": str(advice.picks[0].status.value)}
        if advice.lr is None:
            yield row | {"lr": None, "regret": 1.0, "status": "refused"}
            continue
        found = lrfinder.verify(run, steps=steps, seed=seed, jobs=1)
        spent = sum(trial.updates for trial in found.trials)
        row |= {"lr": found.lr, "status": found.status.value, "updates": spent, "kept": found.confirmed}
        # A refusal leaves the config as it was.
        yield row | {"regret": oracle.regret(found.lr or advice.lr), "costs": _costs(run, advice, seed)}


def _costs(run: Path, advice: Any, seed: int) -> dict[str, float] | None:
    """Return what the rate is said to cost at most, at each level; None if nothing was decided."""
    from lrfinder.advice import gather_evidence
    from lrfinder.advice.verify.budget import VerifyRequest, default_budget
    from lrfinder.advice.verify.trial_plan import TrialPlan
    from lrfinder.store import TRIALS, load_run, read_log

    sweep, config = load_run(run), advice.schedule
    request = VerifyRequest(
        steps=config.steps,
        budget=default_budget(config.steps),
        lr=advice.lr,
        schedule=config.schedule.name,
        seed=seed,
        band=(evidence := gather_evidence(sweep)).band,
        chance_onset=evidence.chance_onset,
    )
    known = tuple(trial for trial in read_log(run / TRIALS) if trial.seed == seed)
    plan = TrialPlan(request=request, sweep=sweep, runs=known)
    told = {level: plan.decision_at(level) for level in LEVELS}
    return {str(level): decision.cost for level, decision in told.items() if decision is not None} or None


def table(rows: list[Row]) -> Iterator[str]:
    """Yield the lines of the tables: one of lengths, one of reliability."""
    head = (
        "updates, tasks",
        "recommended, mean / worst regret",
        "verified",
        "made worse by 0.02 / 0.1",
        "kept",
        "confident (worst)",
        "confidently wrong",
        "updates of `verify`",
    )
    yield f"| {' | '.join(head)} |"
    yield "| --- " * len(head) + "|"
    for (steps, group), own in sorted(_grouped(rows).items()):
        sure = [row["regret"] for row in own if row["status"] == "confident"]
        worse = [row["regret"] - row["before"] for row in own]
        spent = [row["updates"] for row in own if "updates" in row]
        cells = (
            f"{steps:,}, {group} ({len({row['task'] for row in own})})",
            f"{_mean(own, 'before'):.3f} / {max(row['before'] for row in own):.3f}",
            f"{_mean(own, 'regret'):.3f} / {max(row['regret'] for row in own):.3f}",
            f"{sum(x > HURT for x in worse)} / {sum(x > BADLY_WRONG for x in worse)}",
            f"{sum(bool(row.get('kept')) for row in own)} of {len(own)}",
            f"{len(sure)} of {len(own)} ({max(sure, default=0):.3f})",
            str(sum(x > BADLY_WRONG for x in sure)),
            f"{statistics.fmean(spent):.0f}" if spent else "",
        )
        yield f"| {' | '.join(cells)} |"
    yield ""
    yield "| stated to cost at most, at | " + " | ".join(f"{level:.0%}" for level in LEVELS) + " |"
    yield "| --- " * (len(LEVELS) + 1) + "|"
    for (steps, group), own in sorted(_grouped(rows).items()):
        told = [row for row in own if row.get("costs")]
        met = (
            statistics.fmean(row["regret"] <= max(row["costs"][str(level)], HURT) for row in told) for level in LEVELS
        )
        yield f"| {steps:,}, {group}: met by {len(told)} | " + " | ".join(f"{share:.0%}" for share in met) + " |"


def _grouped(rows: Iterable[Row]) -> dict[tuple[int, str], list[Row]]:
    groups: dict[tuple[int, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["steps"], "held out" if row["room"] == "long" else "others"].append(row)
    return groups


def _mean(rows: list[Row], key: str) -> float:
    return statistics.fmean(row[key] for row in rows)


def main() -> None:
    """Measure what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rooms", type=Path, nargs="+", default=[HERE / room for room in ROOMS])
    parser.add_argument("--lengths", type=int, nargs="+", default=[400, 1600, 6400, 25600])
    parser.add_argument("--seeds", type=int, nargs="+", default=[10, 11, 12, 13, 14])
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--per-task", action="store_true", help="print every verification as well")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    jobs: list[Job] = []
    for task in sorted(path for room in given.rooms for path in room.resolve().glob("*.py")):
        lengths = tuple(steps for steps in given.lengths if oracle_of(task, steps).exists())
        jobs += [(task, seed, lengths, given.folder.resolve()) for seed in given.seeds if lengths]
    with multiprocessing.get_context("spawn").Pool(given.jobs) as pool:
        rows = [row for found in pool.imap_unordered(measure, jobs) for row in found]
    (given.folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if given.per_task:
        for row in sorted(rows, key=lambda row: (row["steps"], row["task"], row["seed"])):
            print({key: round(x, 4) if isinstance(x, float) else x for key, x in row.items()})
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
