"""Trunk and branches against the separate trials of `verify`, at equal updates, for runs of 1,600. Prints the tables.

    python tests/benchmarks/branches.py FILE [--jobs N] [--budget U] [--tasks TASK_FILE ...]    what FILE has is kept

A trunk trains once at its peak, warm and then constant; copies of it cool down to zero over the last fifth of a
quarter, a half and all of its length, with the same seed and data. Both start at the same asked rates, up to 0.3 decade
beside the best of 400 updates, and are read by the same functions. Scored on oracles of 1,600 updates.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import itertools
import json
import math
import multiprocessing
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from constant import best_of
from scoring import Oracle
from training import BLOWN_UP, WARMUP, forever, load, loss_of, validate

from lrfinder.advice.verify.budget import VerifyRequest
from lrfinder.advice.verify.decision import decide
from lrfinder.advice.verify.trial_plan import STEP, TrialPlan
from lrfinder.formatting import round_lr
from lrfinder.records import OptimizerFacts, RunPlan, Setup, ShortRun, Stop, SweepResult, SweepSettings
from lrfinder.search.drift import expected_drift
from lrfinder.search.lr_profile import lr_profile
from lrfinder.search.next_rate import next_bracket
from lrfinder.search.passes import subset_size
from lrfinder.search.run_schedule import schedule_factor

HERE = Path(__file__).resolve().parent
NAMES = (
    "tasks/digits_mlp_sgd tasks/digits_logistic_sgd tasks/digits_deep_relu_sgd tasks/friedman_mlp_adam "
    "long/tasks/stream_teacher_adamw long/tasks/stream_clusters_sgd long/tasks/stream_markov_adam "
    "long/tasks/stream_skewed_logistic_sgd"
)
WHOLE = 1600
OFFSETS = (0.0, -0.3, 0.3, -0.15, 0.15)  # decades, of the asked rate beside the best of 400 updates, seed by seed
PARTS, COOLDOWN, RATES = (4, 2, 1), 0.2, 5
TRUNK_COST = 1 - COOLDOWN + COOLDOWN * sum(1 / part for part in PARTS)  # of its length


class Training:
    """One training at a peak rate, from a seed; `update(factor)` makes an update at that share of the peak."""

    def __init__(self, task: ModuleType, rate: float, seed: int, steps: int, different: int | None) -> None:
        torch.manual_seed(seed)
        self.task, self.model = task, task.model()
        self.first = validate(task, self.model)
        self.optimizer = task.optimizer(self.model.parameters(), rate)
        self.peaks = [group["lr"] for group in self.optimizer.param_groups]
        torch.manual_seed(seed)
        self.batches = list(itertools.islice(forever(task.train_loader()), different or steps))
        self.made, self.diverged = 0, False

    def update(self, factor: float) -> None:
        """Make an update, unless the loss has blown up."""
        if self.diverged:
            return
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * factor
        loss = loss_of(self.task, self.model, self.batches[self.made % len(self.batches)])
        self.diverged = not abs(loss.item()) <= BLOWN_UP * (abs(self.first) + 1)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.made += 1

    def branch(self, updates: int) -> Training:
        """Return a copy that has cooled down to zero."""
        other = copy.copy(self)
        other.model, other.optimizer = copy.deepcopy((self.model, self.optimizer))
        for update in range(updates):
            other.update(1 - update / updates)
        return other

    def as_run(self, plan: RunPlan, seed: int) -> ShortRun:
        """Return what it reached."""
        loss = math.inf if self.diverged else validate(self.task, self.model)
        bad = not math.isfinite(loss)
        stop = Stop.DIVERGED if bad else Stop.COMPLETED
        reached = None if bad else loss
        return ShortRun(
            plan=plan, seed=seed, metric="val", initial_loss=self.first, loss=reached, stop=stop, updates=self.made
        )


def by_trials(task: ModuleType, sweep: SweepResult, asked: float, seed: int, budget: int) -> Any:
    """Return the decision of `verify`'s own plan, its longer length, and the updates spent."""

    def made(plan: RunPlan) -> ShortRun:
        training, factor = Training(task, plan.lr, seed, plan.steps, plan.batches), schedule_factor(plan)
        for update in range(plan.steps):
            training.update(factor(update))
        return training.as_run(plan, seed)

    plan = TrialPlan(request=VerifyRequest(steps=WHOLE, budget=budget, lr=10**asked), sweep=sweep)
    while plans := plan.next_runs():
        plan = dataclasses.replace(plan, runs=(*plan.runs, *map(made, plans)))
    return plan.decision, plan.lengths.long, plan.updates


def by_branches(task: ModuleType, sweep: SweepResult, asked: float, seed: int, budget: int) -> Any:
    """Return the same of trunks, whose copies cool down at three lengths; RATES of them use up the budget."""
    steps = int(budget / RATES / TRUNK_COST)
    different = subset_size(sweep.batches_per_epoch, steps=steps, whole=WHOLE)
    cooldowns = {steps // part: round(COOLDOWN * steps / part) for part in PARTS}
    warm, runs, spent = max(1, round(WARMUP * steps)), [], 0

    def grow(x: float) -> None:
        nonlocal spent
        rate = round_lr(10**x, 4)
        trunk = Training(task, rate, seed, steps, different)
        for length, cooldown in cooldowns.items():
            while trunk.made < length - cooldown and not trunk.diverged:
                trunk.update(min(1.0, (trunk.made + 1) / warm))
            branch = trunk.branch(cooldown)
            spent += branch.made - trunk.made
            runs.append(branch.as_run(RunPlan(lr=rate, steps=length, batches=different), seed))
        spent += trunk.made

    for x in (asked, asked + STEP, asked - STEP):
        grow(x)
    for _ in range(RATES - 3):
        profile = lr_profile(runs, steps)
        x = None if profile is None else next_bracket(profile, STEP)
        if x is None:
            break
        grow(x)
    short, long = (lr_profile(runs, steps // part) for part in (PARTS[0], PARTS[-1]))
    if long is None or len(long.points) == 1 or long.fall <= 0:
        return None, steps, spent
    expected = expected_drift(sweep.setup.optimizer.name, sweep.setup.optimizer.settings)
    return (
        decide(asked, short, long, steps=WHOLE, expected=expected, band=None, repeated=different is not None),
        steps,
        spent,
    )


WAYS: dict[str, Callable[..., Any]] = {"separate trials": by_trials, "trunk and branches": by_branches}


def oracle_of(path: Path, suffix: str = "") -> Oracle:
    return Oracle.read(path.parent.parent / "oracle" / f"{path.stem}{suffix}.json")


def one(job: tuple[Path, int, str, int]) -> dict[str, Any]:
    """Choose a rate in one way, for one task and seed."""
    torch.set_num_threads(1)
    path, seed, way, budget = job
    task, asked = load(path), best_of(oracle_of(path)) + OFFSETS[seed % len(OFFSETS)]
    optimizer = task.optimizer(task.model().parameters(), 1.0)
    facts = OptimizerFacts(name=type(optimizer).__name__, settings={})
    setup = Setup(model=path.stem, parameters=1, loss="", optimizer=facts, batch_size=None, device="cpu", torch="",
                  batches_per_epoch=len(task.train_loader()), python="", lrfinder="")  # fmt: skip
    sweep = SweepResult(settings=SweepSettings(), setup=setup, traces=())
    decision, longest, spent = WAYS[way](task, sweep, asked, seed, budget)
    row = {"task": path.stem, "seed": seed, "way": way, "budget": budget, "longest": longest, "updates": spent}
    if decision is None:
        return row | {"points_to": asked, "decided": asked, "drift": None}
    return row | {"points_to": decision.drift.x, "decided": decision.x, "drift": decision.drift.per_doubling}


def table(paths: list[Path], rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of the table: regrets at 1,600 updates, and errors in decades."""
    truth = {path.stem: (oracle_of(path, f"@{WHOLE}"), best_of(oracle_of(path, f"@{WHOLE}"))) for path in paths}
    true_drift = {path.stem: (truth[path.stem][1] - best_of(oracle_of(path))) / 2 for path in paths}
    head = ("way", "budget", "longest", "updates", "points to: mean / worst regret", "less the others' bias", "decided",
            "bias, decades", "error of the rate, decades (rms)", "drift a doubling: error (rms)",
            "its scatter")  # fmt: skip
    yield f"| {' | '.join(head)} |"
    yield "| --- " * len(head) + "|"
    for way, budget in sorted({(row["way"], row["budget"]) for row in rows}, key=lambda key: key[::-1]):
        own = [row for row in rows if (row["way"], row["budget"]) == (way, budget) and row["task"] in truth]
        missed: dict[str, list[float]] = defaultdict(list)
        drifts: dict[str, list[float]] = defaultdict(list)
        for row in own:
            missed[row["task"]].append(row["points_to"] - truth[row["task"]][1])
            drifts[row["task"]] += [] if row["drift"] is None else [row["drift"]]
        bias = {
            name: statistics.median(statistics.fmean(missed[other]) for other in missed if other != name)
            for name in missed
        }

        def regrets(key: str, less: dict[str, float], own: list[dict[str, Any]] = own) -> str:
            each = [truth[row["task"]][0].regret(10 ** (row[key] - less.get(row["task"], 0.0))) for row in own]
            return f"{statistics.fmean(each):.3f} / {max(each):.3f}"

        errors = [error for each in missed.values() for error in each]
        off = [drift - true_drift[name] for name, each in drifts.items() for drift in each]
        scatter = statistics.fmean(statistics.stdev(each) for each in drifts.values() if len(each) > 1)
        longest, spent = own[0]["longest"], statistics.fmean(row["updates"] for row in own)
        cells = (way, budget, longest, f"{spent:.0f}", regrets("points_to", {}), regrets("points_to", bias),
                 regrets("decided", {}), f"{statistics.fmean(errors):+.2f}", f"{_rms(errors):.2f}",
                 f"{_rms(off):.3f}", f"{scatter:.3f}")  # fmt: skip
        yield f"| {' | '.join(map(str, cells))} |"


def _rms(errors: list[float]) -> float:
    return math.sqrt(statistics.fmean(error**2 for error in errors))


def main() -> None:
    """Choose the rates that are missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--tasks", type=Path, nargs="+", default=[HERE / f"{name}.py" for name in NAMES.split()])
    parser.add_argument("--budget", type=int, nargs="+", default=[800, WHOLE])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10, 18)))
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    paths = [path.resolve() for path in given.tasks]
    rows = [json.loads(line) for line in given.file.read_text().splitlines()] if given.file.exists() else []
    made = {(row["task"], row["seed"], row["way"], row["budget"]) for row in rows}
    jobs = [
        job for job in itertools.product(paths, given.seeds, WAYS, given.budget) if (job[0].stem, *job[1:]) not in made
    ]
    given.file.parent.mkdir(parents=True, exist_ok=True)
    with multiprocessing.get_context("spawn").Pool(given.jobs) as pool, given.file.open("a") as log:
        for row in pool.imap_unordered(one, jobs):
            rows.append(row)
            print(json.dumps(row), file=log, flush=True)
    print("\n".join(table(paths, rows)))


if __name__ == "__main__":
    main()
