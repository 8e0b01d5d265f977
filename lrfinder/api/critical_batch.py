"""Measure the critical batch of a swept run, for `recommend --target-batch`."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lrfinder.advice.another_batch import check_law
from lrfinder.advice.constant_rate import CONSTANT
from lrfinder.errors import UsageError
from lrfinder.formatting import format_count
from lrfinder.paths import restore_cwd
from lrfinder.records import GradientNoise, Graph, RunPlan, ShortRun, Stop, SweepResult
from lrfinder.search.critical_batch import CriticalBatch, critical_batch
from lrfinder.store import Source, read_noise, write_noise
from lrfinder.task.source import modules_put_back

if TYPE_CHECKING:
    from lrfinder.api.sweeping.sweep_run import Watch
    from lrfinder.api.training.executors import Elsewhere
    from lrfinder.engine.observer import Observer
    from lrfinder.task.problem import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredBatch:
    """The critical batch, None if it couldn't be measured; `why` says why not. `updates` were spent on it."""

    critical: CriticalBatch | None
    why: str = ""
    updates: int = 0
    stop: Stop | None = None  # what interrupted it

    def __str__(self) -> str:
        if self.critical is None:
            return f"The critical batch was not measured: {self.why}."
        took = f" It took {format_count(self.updates, 'update')} more." if self.updates else ""
        return f"The critical batch is {self.critical}: `lrfinder recommend --target-batch` goes by it.{took}"


def check_measurable(sweep: SweepResult, source: Source, where: Elsewhere | None) -> None:
    """Raise UsageError if the critical batch can't be measured, or is of no use, for what was swept."""
    if source.script is not None:
        raise UsageError(
            "the critical batch of a script can't be measured: its updates can't be made at rate 0",
            hint="leave --critical-batch out, and sweep the script with the other batch",
        )
    check_law(sweep.setup)
    if where is not None:
        raise UsageError(
            "the critical batch is measured by the processes that this command starts, not on Ray",
            hint="leave --on out: trials that were made there are kept, and aren't made again",
        )
    if source.training.swept_optimizer is not None or source.training.scale_others:
        raise UsageError(
            "the critical batch of one among several optimizers can't be measured: the others change the weights",
            hint="leave --critical-batch out, and sweep with the other batch",
        )
    if source.training.clip_norm is not None or source.training.clip_value is not None:
        raise UsageError(
            "the laws of the critical batch are for gradients that aren't clipped",
            hint="leave --critical-batch out, and sweep with the other batch",
        )


def measure_critical_batch(
    sweep: SweepResult, folder: Path, *, source: Source, lr: float, seed: int, watch: Watch | None = None
) -> MeasuredBatch:
    """Train as long as a short run of the sweep, at the constant rate `lr`, and look at the gradients there.

    What was measured at that rate with that seed is taken from the run folder, where a new result is kept. Raises
    what `ShortRuns.run` raises.
    """
    plan = RunPlan(lr=lr, steps=sweep.settings.run_steps, schedule=CONSTANT)
    known = read_noise(folder)
    if known is not None and (known.lr, known.updates, known.seed) == (lr, plan.steps, seed):
        return MeasuredBatch(critical=critical_batch(known))
    folder = folder.absolute()  # a model file may change the working directory
    with modules_put_back(), restore_cwd(), contextlib.ExitStack() as stack:
        observers = [] if watch is None else [stack.enter_context(watch(sweep.settings))]
        source = dataclasses.replace(source, training=dataclasses.replace(source.training, graph=Graph.OFF))
        from lrfinder.api.sweeping.model_file import load_source_problem  # torch, after `watch` has prepared for it

        problem, batch = load_source_problem(source, seed=seed), check_law(sweep.setup)
        made, noise = noise_at(problem, plan, device=source.device, seed=seed, batch=batch, observers=observers)
    if noise is None:
        asked = made.stop if made.stop.was_asked_for else None
        why = made.why or "the optimizer's steps can't be watched"
        return MeasuredBatch(critical=None, why=why, updates=made.updates, stop=asked)
    write_noise(folder, noise)
    return MeasuredBatch(critical=critical_batch(noise), updates=made.updates)


def noise_at(
    problem: Problem, plan: RunPlan, *, device: str, seed: int, batch: int, observers: Sequence[Observer] = ()
) -> tuple[ShortRun, GradientNoise | None]:
    """Call `measure_noise` for `problem` in this process and in those that work with it."""
    from lrfinder.api.sweeping.broadcast import Broadcast
    from lrfinder.engine.distributed.orders import Begin
    from lrfinder.engine.distributed.team import current_team
    from lrfinder.engine.gradient_noise import measure_noise
    from lrfinder.engine.micro_batches import micro_batching_for
    from lrfinder.engine.runtime.device import choose_device
    from lrfinder.engine.short_runs import ShortRuns

    target, team = choose_device(device), current_team()
    if team is not None:
        team.tell(Begin(None, device))
    batching = micro_batching_for(problem, None, target, team=team)
    with ShortRuns(problem, seed=seed, device=target, observer=Broadcast(observers), batching=batching) as runs:
        return measure_noise(runs, plan, batch=batch)
