"""Short runs from the same start: one rate, a small warm-up and decay, and the loss reached on held-out data."""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import torch

from lrfinder.engine.data.subset import RepeatedSubset
from lrfinder.engine.losses.course import Course
from lrfinder.engine.losses.evaluation import (
    EVALUATION,
    LEAST_BATCHES,
    PROBE,
    PROBE_BATCHES,
    VAL,
    evaluate,
    validation_batches,
)
from lrfinder.engine.losses.readback import gathering, readout_for
from lrfinder.engine.losses.stopping import StopReason
from lrfinder.engine.micro_batches import MicroBatching
from lrfinder.engine.observer import Observer
from lrfinder.engine.preparation import Preparation
from lrfinder.engine.restore.snapshot import Snapshot, preserved
from lrfinder.engine.runtime.failures import environment_failure
from lrfinder.engine.runtime.memory import free_memory
from lrfinder.engine.runtime.rng import derived_seed
from lrfinder.engine.runtime.signals import Interrupts, Terminated
from lrfinder.engine.sweep import describe_error, settled
from lrfinder.records import Metric, RunPlan, ShortRun, Stop
from lrfinder.schedules import SCHEDULES
from lrfinder.task.loader import make_val_loader
from lrfinder.task.problem import BuiltProblem, Problem

WARMUP = 0.05  # of a run's updates, at least one: as long as `recommend` warms up plain optimizers


@dataclass(slots=True)
class Progress:
    updates: int = 0
    skipped: int = 0
    metric: str = PROBE
    initial_loss: float | None = None
    losses: list[float] = field(default_factory=list)  # of the training batches, so far as they are known
    repeated: RepeatedSubset | None = None

    def back_to(self, updates: int) -> None:
        """Leave out the updates after so many: they were made before it was known that the run had ended."""
        self.updates = updates


@dataclass(frozen=True, slots=True)
class PreparedRun:
    """A run that is ready for its first update."""

    trial: BuiltProblem
    batches: Iterator[Any]
    held_out: list[Any]
    device: torch.device
    seed: int  # of the evaluation's draws
    split: Callable[[Any], list[tuple[float, Any]]]  # into the parts that a batch is computed in

    def judged(self) -> float:
        """Return the loss on the held-out data now."""
        return evaluate(self.trial, self.held_out, device=self.device, seed=self.seed, split=self.split)


class ShortRuns:
    """A context in which short runs of a problem are made; leaving it gives the live objects back bit for bit.

    Runs with the same `plan.repeat` start from the same weights, optimizer state, generators and batches, whether the
    problem's objects are live (then they are rewound) or made by callables. They are judged by the val_loader, or by
    batches of the train_loader that are set aside before training.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        seed: int,
        device: torch.device,
        observer: Observer,
        deadline: float = math.inf,
        batching: MicroBatching | None = None,
    ) -> None:
        """`deadline` is a time of `time.monotonic`; `batching` is shared with the continuous part of a sweep."""
        self._problem = problem
        self._seed = seed
        self._device = device
        self._observer = observer
        self._deadline = deadline
        self._batching = batching or MicroBatching()
        self._preparation = Preparation(problem, device, self._batching)
        self._interrupts = Interrupts()
        self._stack = contextlib.ExitStack()
        self._snapshot: Snapshot | None = None
        self._initial: dict[tuple[int, int], float] = {}  # by repeat and number of held-out batches
        self.losses: Sequence[float] = ()  # of the last run's training, before each update
        self._told_setup = False
        self._course: Course | None = None  # of the run that is being made

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._interrupts)
            self._snapshot = stack.enter_context(preserved(self._problem, self._device))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def run(self, plan: RunPlan) -> ShortRun:
        """Make one run and return what it reached; Ctrl-C and SIGTERM end it and are a result.

        Raises EnvironmentFailure, ModelFileError and UsageError as `run_sweep` does; what the user's code raises passes
        through unchanged. In each case the observer has had the run with Stop.FAILED before. Where memory runs out on a
        batch, the run begins again with each batch in twice as many parts.
        """
        while (made := self._attempt(plan)) is None:
            free_memory(self._device)
        return made

    def _attempt(self, plan: RunPlan) -> ShortRun | None:
        """Make a run; None: memory ran out."""
        self._observer.run_started(plan)
        progress = Progress()
        self.losses = progress.losses
        loss: float | None = None
        self._course = None
        try:
            if self._snapshot is not None:
                self._snapshot.rewind()
            with contextlib.ExitStack() as cleanup, self._interrupts.allowed(), torch.enable_grad():
                loss, stop, why = self._train(plan, progress, cleanup)
        except (KeyboardInterrupt, Terminated) as signalled:
            settled(self._course)
            stop, why = self._interrupted(isinstance(signalled, Terminated))
        except BaseException as error:
            end = settled(self._course)
            if end is not None and self._interrupts.pending is None:  # before it came to this
                return self._ended(plan, progress, None, *end)
            if self._interrupts.pending is None and self._batching.split_further(error, progress.updates):
                return None
            if self._interrupts.pending is None:
                self._observer.run_ended(self._made(plan, progress, None, Stop.FAILED, describe_error(error)))
                failure = environment_failure(error, batch=self._preparation.due)
                if failure is None:
                    raise
                raise failure from error
            stop, why = self._interrupted(self._interrupts.pending != signal.SIGINT)
        return self._ended(plan, progress, loss, stop, why)

    def _ended(self, plan: RunPlan, progress: Progress, loss: float | None, stop: Stop, why: str) -> ShortRun:
        made = self._made(plan, progress, loss, stop, why)
        self._observer.run_ended(made)
        return made

    def _made(self, plan: RunPlan, progress: Progress, loss: float | None, stop: Stop, why: str) -> ShortRun:
        first = progress.initial_loss
        made = ShortRun(
            plan=plan,
            seed=self._seed,
            metric=progress.metric,
            initial_loss=first if first is not None and math.isfinite(first) else None,
            loss=loss,
            stop=stop,
            updates=progress.updates,
            why=why,
            fresh=progress.repeated is not None and progress.repeated.too_large,
            skipped=progress.skipped,
        )
        return self._batching.marked(made)

    def _interrupted(self, terminated: bool) -> tuple[Stop, str]:  # noqa: FBT001
        self._interrupts.answered()
        return (Stop.TERMINATED if terminated else Stop.INTERRUPTED), "the run was cut short"

    def _train(
        self, plan: RunPlan, progress: Progress, cleanup: contextlib.ExitStack
    ) -> tuple[float | None, Stop, str]:
        begun = self._begin(plan, progress, cleanup)
        end = self._update_all(plan, progress, begun.trial, begun.batches)
        stop, why = (self._course and self._course.settle()) or end
        if stop is not Stop.COMPLETED:
            return None, stop, why
        return final_result(begun.judged(), plan)

    def _begin(self, plan: RunPlan, progress: Progress, cleanup: contextlib.ExitStack) -> PreparedRun:
        """Build what `plan` trains, set its held-out data aside, and note their loss before the first update."""
        seed = derived_seed(self._seed, plan.repeat)
        # A sampler that is told the epoch derives its order from it alone: the same epochs for the same repeat.
        taken = self._problem.training.accumulate
        first_epoch = plan.repeat * ((plan.steps + 1) * taken + PROBE_BATCHES)
        trial, batches = self._preparation.ready(seed, first_epoch=first_epoch, cleanup=cleanup)
        held_out, progress.metric = self._held_out(plan, batches, seed)
        self._batching.check(trial, self._device, seed)
        if plan.batches is not None and self._batching.cache is None:
            progress.repeated = RepeatedSubset(batches, plan.batches * taken)

        draws = derived_seed(seed, EVALUATION)
        begun = PreparedRun(trial, progress.repeated or batches, held_out, self._device, draws, self._batching.split)
        key = (plan.repeat, len(held_out))
        if key not in self._initial:
            self._initial[key] = begun.judged()
        progress.initial_loss = self._initial[key]
        return begun

    def _held_out(self, plan: RunPlan, batches: Generator[Any, None, None], seed: int) -> tuple[list[Any], str]:
        loader = make_val_loader(self._problem)
        if loader is None:
            return self._preparation.set_aside(batches, PROBE_BATCHES), PROBE
        held_out = validation_batches(
            loader,
            max(LEAST_BATCHES, plan.steps),
            seed=derived_seed(seed, EVALUATION),
            where=self._problem.where,
            timeout=self._problem.loader_timeout,
        )
        return held_out, VAL

    def _update_all(self, plan: RunPlan, progress: Progress, trial: BuiltProblem, batches: Iterator[Any]) -> StopReason:
        factor = schedule_factor(plan)
        readout = readout_for(self._problem, trial.parts, self._device, Metric.TRAIN)
        updates = self._preparation.updates(trial, batches, late=readout is not None)
        applied, rate = True, 0.0
        while progress.updates < plan.steps:
            step = progress.updates
            loss = updates.next_loss()
            if loss is None:
                return Stop.OUT_OF_DATA, f"train_loader ran out after {step} updates and can't be started again"
            if self._course is None:
                self._tell_setup(trial)
                first = loss.item()
                progress.losses.append(first)
                ending = updates.ending(first, lambda made, _: f"after {made} updates")
                self._course = Course(
                    ending,
                    readout,
                    take=progress.losses.append,
                    back_to=progress.back_to,
                    held=self._interrupts.held,
                    patience=gathering(self._problem),
                )
                end = ending.before("the loss of the first batch")
            elif applied:
                end = self._course.add(loss, step, rate)
            else:  # the loss scaler skipped the update, so the weights are as before: that loss says nothing new
                end = updates.stuck(rate)
            if end is not None:
                return end
            if time.monotonic() >= self._deadline:
                return Stop.OUT_OF_TIME, f"the time limit was reached after {step} updates"
            rate = plan.lr * factor(step)
            applied = updates.make(rate)
            if not applied:
                progress.skipped += 1
                continue
            progress.updates += 1
            with self._interrupts.held():
                self._observer.run_updated(plan, progress.updates, self._course.latest)
        return Stop.COMPLETED, ""

    def _tell_setup(self, trial: BuiltProblem) -> None:
        if not self._told_setup:
            self._told_setup = True
            with self._interrupts.held():
                self._observer.prepared(self._preparation.described(trial))


def final_result(loss: float, plan: RunPlan) -> tuple[float | None, Stop, str]:
    """Return what a run that made all its updates has to say."""
    if not math.isfinite(loss):
        return None, Stop.NON_FINITE, f"the held-out loss is {loss} after {plan.steps} updates"
    return loss, Stop.COMPLETED, ""


def schedule_factor(plan: RunPlan) -> Callable[[int], float]:
    """Return f(t) / peak of the plan's schedule, compressed to the run's length."""
    warmup = max(1, round(WARMUP * plan.steps))
    return SCHEDULES[plan.schedule].for_run(steps=plan.steps, warmup=warmup).factor
