"""Every schedule in every target at every telling length: the largest difference from f(t), over the peak.

python tests/export/matrix.py       prints the table; `make export-matrix`
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrfinder.config import OptimizerConfig, ScheduleConfig
from lrfinder.export import EXPORTERS, export_schedule
from lrfinder.export.base import Export
from lrfinder.schedules import SCHEDULES, Schedule

PEAK = 0.0317
TOLERANCE = 1e-9  # of the peak
TOLERANCE_FLOAT32 = 1e-6  # where the framework itself computes in single precision
# T and W: a run of one update; no warm-up, one update of it, all but one, all; ordinary ones.
LENGTHS = [(1, 0), (1, 1), (2, 1), (12, 0), (12, 1), (12, 4), (12, 11), (12, 12), (97, 0), (400, 40)]
# Also where the warm-up starts, over the peak, where it isn't (t + 1) / W: at 0 in most frameworks.
STARTS = [(12, 1, 0.0), (12, 4, 0.0), (12, 12, 0.0), (12, 4, 0.1), (400, 40, 0.0)]
NEEDS = {  # what a target's runs import, beyond what `make setup` installs apart
    "lightning": ("lightning",),
    "huggingface": ("transformers",),
    "axolotl": ("transformers",),
    "keras": ("keras",),
    "optax": ("jax", "optax"),
}
SINGLE_PRECISION = {"keras", "optax"}
GROUPED = {"torch", "timm", "mmengine"}  # run with a second param group, at a quarter of the rate
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "linear": [{}, {"final": 0.1}],
    "cosine": [{}, {"final": 0.1}],
    "constant": [{}],
    "step": [{"every": 5, "factor": 0.5}, {"every": 3, "factor": 0.25}],
    "multi-step": [{"milestones": (3, 8, 8, 50), "factor": 0.3}],
    "geometric": [{}, {"halved_first": True}],
    "exponential": [{"factor": 0.5, "every": 4}, {"factor": 0.9, "every": 3, "staircase": True}],
    "time-based": [{"rate": 0.05}, {"rate": 0.5, "every": 4}, {"rate": 0.01, "compounded": True}],
    "inverse-sqrt": [{}, {"timescale": 5}],
    "noam": [{}],
    "rex": [{}],
    "wsd": [
        {"cooldown": 4},
        {"cooldown": 500, "shape": "linear", "final": 0.1},
        {"cooldown": 3, "shape": "cosine"},
        {"cooldown": 0},
    ],
    "polynomial": [{"power": 2.0}, {"power": 0.9, "final": 0.05}, {"over": 5}, {"over": 4, "cycle": True}],
    "k-decay": [{}, {"k": 0.5, "final": 0.1}, {"k": 1.0}],
    "tanh": [{}, {"lower": -1.0, "upper": 2.0, "floor": 0.1}],
    "slanted-triangular": [{}, {"rise": 0.37, "ratio": 10.0}, {"rise": 0.0}],
    "cosine-restarts": [
        {"first": 3, "growth": 1.0},
        {"first": 3},
        {"first": 2, "growth": 1.5, "shrink": 0.7, "final": 0.1},
    ],
    "one-cycle": [{}, {"rise": 0.45, "anneal": "linear", "final": 0.001}],
    "cyclical": [{"up": 4}, {"up": 3, "down": 5, "mode": "triangular2"}, {"up": 2, "mode": "exp-range", "gamma": 0.9}],
    "table": [
        {"points": ((0, 0.1), (1, 1.0), (7, 0.3), (50, 0.0))},
        {"points": ((0, 1.0), (5, 0.25), (6, 0.5)), "between": "hold"},
    ],
}


@dataclass(frozen=True)
class Cell:
    """One schedule, of one length, in one target."""

    target: str
    schedule: Schedule
    export: Export
    difference: float  # max |export - f| / peak, over the updates of the run and the param groups

    @property
    def exact(self) -> bool:
        return self.difference <= (TOLERANCE_FLOAT32 if self.target in SINGLE_PRECISION else TOLERANCE)


def schedules() -> list[Schedule]:
    made = []
    for name, variants in VARIANTS.items():
        shape = SCHEDULES[name]
        for steps, warmup, start in [*((*length, None) for length in LENGTHS), *STARTS]:
            if warmup and shape.rises_itself:
                continue
            made += [shape(steps=steps, warmup=warmup, warmup_start=start, **variant) for variant in variants]
    return made


FRAMEWORKS = Path(__file__).with_name("frameworks.py")


def in_a_new_python(jobs: str) -> str:
    done = subprocess.run([sys.executable, str(FRAMEWORKS)], input=jobs, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(done.stderr[-3000:])
    return done.stdout


def measure(target: str, which: list[Schedule], process: Callable[[str], str] = in_a_new_python) -> list[Cell]:
    """Export the schedules, run them all in the target's own framework, and compare.

    `process` runs FRAMEWORKS with this input, and returns what it prints.
    """
    configs = [
        ScheduleConfig(
            optimizer=OptimizerConfig(name="AdamW", lr=PEAK, settings={"betas": (0.9, 0.99), "weight_decay": 0.1}),
            schedule=schedule,
        )
        for schedule in which
    ]
    exports = [export_schedule(config, target) for config in configs]
    jobs = [
        {"target": target, "text": export.text, "steps": config.steps}
        for config, export in zip(configs, exports, strict=True)
    ]
    printed = process(json.dumps(jobs))
    cells = []
    for config, export, used in zip(configs, exports, json.loads(printed.splitlines()[-1]), strict=True):
        peaks = [PEAK, PEAK / 4] if target in GROUPED else [PEAK]
        worst = max(
            abs(rate / peak - config.schedule.factor(t))
            for t, rates in enumerate(used)
            for rate, peak in zip(rates, peaks, strict=target in GROUPED)
        )
        cells.append(Cell(target=target, schedule=config.schedule, export=export, difference=worst))
    return cells


def table(cells: list[Cell]) -> str:
    """A row for each schedule, a column for each target: the largest difference over all lengths and parameters."""
    targets = list(dict.fromkeys(cell.target for cell in cells))
    lines = [f"| schedule | {' | '.join(targets)} |", "| --- " * (len(targets) + 1) + "|"]
    for name in VARIANTS:
        row = []
        for target in targets:
            own = [cell for cell in cells if cell.target == target and cell.schedule.name == name]
            own_class = "*" if any(cell.export.preset for cell in own) else ""
            row.append(f"{max(cell.difference for cell in own):.0e}{own_class}")
        lines.append(f"| {name} | {' | '.join(row)} |")
    wrong = sum(not cell.exact for cell in cells)
    return "\n".join([*lines, "", f"{len(cells)} exports run, {wrong} above tolerance; *: the framework's own in some"])


if __name__ == "__main__":
    found = [cell for target in EXPORTERS for cell in measure(target, schedules())]
    print(table(found))
    sys.exit(any(not cell.exact for cell in found))
