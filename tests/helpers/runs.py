"""Short runs whose truth is known, for tests of whatever reads them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable

from lrfinder.advice.sweep.exploration import next_run, start_of
from lrfinder.records import RunPlan, ShortRun, Stop, SweepResult

START = 2.3
Truth = Callable[[float], float]  # log10(rate) -> final loss; infinite where such a run diverges


def parabola(best: float, *, fall: float = 2.0, width: float = 1.5) -> Truth:
    """The final loss rises from its lowest point, at log10(rate) `best`, to the start, `width` decades beside it."""
    return lambda x: START - fall * max(0.0, 1 - ((x - best) / width) ** 2)


def run_at(plan: RunPlan, truth: Truth, *, seed: int = 0) -> ShortRun:
    """Return the run that ends where `truth` says."""
    loss = truth(math.log10(plan.lr))
    bad = not math.isfinite(loss)
    return ShortRun(
        plan=plan,
        seed=seed,
        metric="val",
        initial_loss=START,
        loss=None if bad else loss,
        stop=Stop.DIVERGED if bad else Stop.COMPLETED,
        updates=3 if bad else plan.steps,
    )


def runs_at(xs: Iterable[float], truth: Truth, *, steps: int = 50) -> tuple[ShortRun, ...]:
    """Return runs at 10**x for every x."""
    return tuple(run_at(RunPlan(lr=10**x, steps=steps), truth) for x in xs)


def explored(result: SweepResult, truth: Truth, *, most: int = 100) -> SweepResult:
    """Return the sweep with every short run that it asks for."""
    start = start_of(result)
    while (plan := next_run(result, start)) is not None:
        assert len(result.runs) < most, "the search has no end"
        result = dataclasses.replace(result, runs=(*result.runs, run_at(plan, truth)))
    return result
