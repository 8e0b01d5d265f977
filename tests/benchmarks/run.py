"""Regret of lrfinder's rates and of its peers', on real training runs: prints the tables that the README shows.

    python tests/benchmarks/run.py OUT.jsonl [--tasks FOLDER] [--seeds 10 11 ...] [--steps T] [--only lrfinder|peers]

lrfinder is run as a user runs it: `sweep`, `recommend`, `verify`, and a full training run at each of the two configs.
What is in OUT.jsonl already is not measured again, so an interrupted benchmark goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import peers
import torch
from scoring import Oracle, per_task, summary
from training import STEPS, load, mean_final

HERE = Path(__file__).resolve().parent
Job = tuple[str, Path, int, int]  # what, task file, seed, updates of the coming run
Row = dict[str, Any]


def lrfinder(*words: object) -> dict[str, Any]:
    """Run a command of lrfinder's and return what it prints with --json."""
    exe = shutil.which("lrfinder", path=Path(sys.executable).parent) or "lrfinder"
    done = subprocess.run(
        [exe, *map(str, words), "--json"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    if done.returncode not in (0, 1, 5):  # 1: corrected; 5: inconclusive, which counts as a refusal
        # No SystemExit: that would end a process of the pool, which then waits for its result forever.
        raise RuntimeError(f"lrfinder {' '.join(map(str, words))}: exit {done.returncode}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def measure_lrfinder(path: Path, seed: int, steps: int, untrained: float) -> Iterator[Row]:
    """Sweep, recommend and verify; then train at both configs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = folder / "run"
        lrfinder("sweep", path, "--seed", seed, "--out", run)
        for method, words in (
            ("lrfinder", ("recommend", run, "--steps", steps)),
            ("lrfinder verified", ("verify", run, "--steps", steps, "--seed", seed)),
        ):
            config = folder / f"{method}.yaml"
            said = lrfinder(*words, "--write", config)
            pick = said["picks"][0]
            told = {key: pick[key] for key in ("status", "low", "high")}
            row = {
                "lr": said["config"]["optimizer"]["lr"] if said["config"] else None,
                "updates": said["updates"],
                **told,
            }
            yield {"method": method, **row}
            if method == "lrfinder":
                for other in said["picks"]:
                    told = {key: other[key] for key in ("lr", "status", "low", "high")}
                    yield {"method": f"rule {other['rule']}", **told}
            if said["config"]:
                rates = lrfinder("schedule", "show", config)["lrs"]
                rest = (*rates, rates[-1])  # torch asks for one more than there are updates
                final = mean_final(load(path), 1.0, untrained, steps=steps, factor=lambda t, r=rest: r[min(t, steps)])
                yield {"method": f"{method}, end to end", "final": final, **row}


def measure_peers(path: Path, seed: int, steps: int, untrained: float) -> Iterator[Row]:
    """Ask every finder for its rate; train as their users would."""
    task = load(path)
    found = peers.suggestions(task, seed)
    for method, rate in found.items():
        yield {"method": method, "lr": rate}
    for method, name, shape in (
        ("torch-lr-finder + cosine, end to end", "torch-lr-finder", peers.cosine),
        ("fastai valley + one-cycle, end to end", "fastai valley", peers.one_cycle),
    ):
        rate = found[name]
        final = untrained if rate is None else mean_final(task, rate, untrained, steps=steps, factor=shape(steps))
        yield {"method": method, "lr": rate, "final": final}


def measure_without_finder(path: Path, seed: int, steps: int, untrained: float) -> Iterator[Row]:
    """Train with what needs no finder; the same for every seed of a sweep."""
    task = load(path)
    rate = peers.default_rate(task)
    flat = mean_final(task, rate, untrained, steps=steps, factor=lambda _: 1.0)
    yield {"method": "the optimizer's default rate", "lr": rate}
    yield {"method": "the optimizer's default rate, constant, end to end", "lr": rate, "final": flat}
    prodigy = mean_final(task, 1.0, untrained, steps=steps, factor=peers.cosine(steps), optimizer=peers.prodigy)
    yield {"method": "Prodigy + cosine, end to end", "lr": None, "final": prodigy}
    free = mean_final(task, 1.0, untrained, steps=steps, factor=lambda _: 1.0, optimizer=peers.schedule_free)
    yield {"method": "schedule-free AdamW, end to end", "lr": None, "final": free}


MEASURES = {"lrfinder": measure_lrfinder, "peers": measure_peers, "without finder": measure_without_finder}


def name_of(path: Path, steps: int) -> str:
    """Return the name of the oracle of a task at a length."""
    return path.stem if steps == STEPS else f"{path.stem}@{steps}"


def measure(job: Job) -> list[Row]:
    """Make one job's rows."""
    torch.set_num_threads(1)
    what, path, seed, steps = job
    name = name_of(path, steps)
    untrained = Oracle.read(path.parent.parent / "oracle" / f"{name}.json").untrained
    rows = MEASURES[what](path, seed, steps, untrained)
    return [{"task": name, "seed": seed, "what": what, **finite(row)} for row in rows]


def finite(row: Row) -> Row:
    """Return the row with None for what JSON has no word for."""
    return {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in row.items()}


def main() -> None:
    """Measure what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tasks", type=Path, default=HERE / "tasks", help="folder of task files, oracle/ beside it")
    parser.add_argument("--seeds", type=int, nargs="+", default=[10, 11, 12, 13, 14])
    parser.add_argument("--steps", type=int, default=STEPS, help="updates of the coming run")
    parser.add_argument("--only", choices=["lrfinder", "peers"])
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--per-task", action="store_true", help="print the mean regret of every task as well")
    given = parser.parse_args()
    oracles = given.tasks.resolve().parent / "oracle"
    paths = [
        p for p in sorted(given.tasks.resolve().glob("*.py")) if (oracles / f"{name_of(p, given.steps)}.json").exists()
    ]
    rows = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out.exists() else []
    done = {(row["what"], row["task"], row["seed"]) for row in rows}
    wanted: list[Job] = []
    for seed in given.seeds:
        for path in paths:
            whats = ["lrfinder"] if given.only != "peers" else []
            if given.only != "lrfinder" and given.steps == STEPS:
                whats += ["peers", *(["without finder"] if seed == given.seeds[0] else [])]
            wanted += [(what, path, seed, given.steps) for what in whats]
    missing = [job for job in wanted if (job[0], name_of(job[1], job[3]), job[2]) not in done]
    with given.out.open("a") as sink, multiprocessing.get_context("spawn").Pool(given.jobs) as pool:
        for count, made in enumerate(pool.imap_unordered(measure, missing), start=1):
            rows += made
            sink.writelines(json.dumps(row) + "\n" for row in made)
            sink.flush()
            print(
                f"{count} of {len(missing)}: {made[0]['task']}, {made[0]['what']}, seed {made[0]['seed']}",
                file=sys.stderr,
            )
    rows = [row for row in rows if (oracles / f"{row['task']}.json").exists()]
    print(summary(rows, oracles))
    if given.per_task:
        print()
        print(per_task(rows, oracles))


if __name__ == "__main__":
    main()
