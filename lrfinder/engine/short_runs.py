"""Short runs from the same start, each with one rate, a small warm-up and decay, judged by held-out data."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import torch

from lrfinder.engine.attempt import run_attempts
from lrfinder.engine.data.subset import MOST_BYTES, RepeatedSubset, size_in_bytes
from lrfinder.engine.distributed.orders import CloseRuns, MakeRun, OpenRuns
from lrfinder.engine.loop import train
from lrfinder.engine.losses.divergence import rise_of
from lrfinder.engine.losses.evaluation import (
    EVALUATION,
    LEAST_BATCHES,
    LEAST_SAMPLES,
    PROBE,
    PROBE_BATCHES,
    VAL,
    validation_batches,
)
from lrfinder.engine.losses.judging import HeldOutLoss
from lrfinder.engine.losses.log import LossLog, StopReason
from lrfinder.engine.losses.readback import max_batching_delay_s
from lrfinder.engine.micro_batches import MicroBatching
from lrfinder.engine.observer import Observer
from lrfinder.engine.preparation import Preparation
from lrfinder.engine.restore.snapshot import Snapshot, preserved
from lrfinder.engine.runtime.failures import BeginAgain
from lrfinder.engine.runtime.rng import derived_seed, remember_global_state
from lrfinder.engine.runtime.signals import Interrupts
from lrfinder.records import Metric, RunPlan, ShortRun, Stop
from lrfinder.search.run_schedule import schedule_factor
from lrfinder.task.first_loss import Targets
from lrfinder.task.loader import make_val_loader
from lrfinder.task.problem import BuiltProblem, Problem

CUT_SHORT = "the run was cut short"


@dataclass(slots=True)
class PreparedRun:
    """A run that is ready for its first update."""

    trial: BuiltProblem
    batches: Iterator[Any]
    subset: RepeatedSubset | None  # the first of them over and over, if the plan asks for it
    held_out: HeldOutLoss
    metric: str
    initial_loss: float | None = None  # on the held-out data
    constant: float | None = None  # the loss of the best constant prediction for them


class ShortRuns:
    """A context in which short runs of a problem are made; at its end the live objects are restored bit for bit.

    Runs with the same `plan.repeat` start from the same weights, optimizer state, generators and batches, whether the
    problem's objects are live (then they are rewound) or made by functions. They are judged by the val_loader, or by
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
        self.problem = problem
        self.seed = seed
        self.device = device
        self.observer = observer
        self.deadline = deadline
        self.batching = batching or MicroBatching()
        self.preparation = Preparation(problem, device, self.batching)
        self.interrupts = Interrupts()
        self._stack = contextlib.ExitStack()
        self._snapshot: Snapshot | None = None
        self._initial: dict[tuple[int, int], tuple[float, float | None]] = {}  # by repeat, number of held-out batches
        self._validation: dict[tuple[int, int], tuple[list[Any], Callable[[], object]]] = {}  # the last that were read
        self._judged = False  # whether the observer knows how held-out data are judged
        self.log = LossLog()  # of the last run
        self.seconds: list[float] = []  # that each update of the last run took, by `clock`
        self.clock: Callable[[], float] | None = None  # what times them, if anything is to

    def __enter__(self) -> Self:
        self.tell(OpenRuns(self.seed))
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.interrupts)
            self._snapshot = stack.enter_context(preserved(self.problem, self.device))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)
        if error is None:
            self.tell(CloseRuns())

    def run(self, plan: RunPlan) -> ShortRun:
        """Make one run and return its result. Ctrl-C and SIGTERM end it, and the result says so.

        Raises EnvironmentFailure, ModelFileError and UsageError as `run_sweep` does. Exceptions of the user's code pass
        through unchanged. In each case the observer has had the run with Stop.FAILED before. If memory runs out on a
        batch, the run begins again with each batch in twice as many parts.
        """
        self.tell(MakeRun(plan))
        return run_attempts(
            lambda: RunAttempt(self, plan), interrupts=self.interrupts, batching=self.batching, device=self.device
        )

    def tell(self, order: object) -> None:
        """Have the other processes of the team do as this one is about to; nothing if it is by itself."""
        if self.batching.team is not None:
            self.batching.team.tell(order)

    @property
    def training_losses(self) -> list[float]:
        """The losses of the last run's training, the one before each update."""
        first = self.log.first
        return [] if first is None else [first, *self.log.losses]

    def rewind(self) -> None:
        """Put the live objects back to where they began."""
        if self._snapshot is not None:
            self._snapshot.rewind()

    def prepare(self, plan: RunPlan, cleanup: contextlib.ExitStack) -> PreparedRun:
        """Build what `plan` trains, set held-out data aside, and compute their loss before the first update."""
        seed = derived_seed(self.seed, plan.repeat)
        # A sampler with `set_epoch` derives its order from the epoch alone: the same epochs for the same repeat.
        taken = self.problem.training.accumulate
        first_epoch = plan.repeat * ((plan.steps + 1) * taken + PROBE_BATCHES)
        trial, batches = self.preparation.ready(seed, first_epoch=first_epoch, cleanup=cleanup)
        held_out, metric = self._held_out(plan, batches, seed)
        self.batching.check(trial, self.device, seed)
        subset = None
        if plan.batches is not None and self.batching.cache is None:
            subset = RepeatedSubset(batches, plan.batches * taken)
        draws, split = derived_seed(seed, EVALUATION), self.batching.split
        judge = HeldOutLoss(self.batching.judging, trial, held_out, device=self.device, seed=draws, split=split)
        judge.watch_outputs(cleanup)
        ready = PreparedRun(trial, batches, subset, judge, metric)
        key = (plan.repeat, len(held_out))
        if key not in self._initial:
            targets = Targets()
            before = trial.watch(targets)
            self._initial[key] = ready.held_out(), targets.constant
            trial.watch(before)
        ready.initial_loss, ready.constant = self._initial[key]
        return ready

    def settle_judging(self, ready: PreparedRun, first: float) -> None:
        """Settle how held-out data are judged; raise BeginAgain if more than the first training loss had to tell."""
        judging = self.batching.judging
        if judging.way is not None and self._judged:
            return
        self._judged = True
        settled = ready.held_out.settle(ready.initial_loss or 0.0, first)
        if judging.description is not None:
            with self.interrupts.held():
                self.observer.judged(judging.description)
        if not settled:
            self._initial.clear()
            raise BeginAgain

    def _held_out(self, plan: RunPlan, batches: Generator[Any, None, None], seed: int) -> tuple[list[Any], str]:
        if self.problem.val_loader is None:
            return self.preparation.set_aside(batches, PROBE_BATCHES, samples=LEAST_SAMPLES), PROBE
        most = max(LEAST_BATCHES, plan.steps)
        if (seed, most) in self._validation:
            held_out, draws_as_after_reading = self._validation[seed, most]
            draws_as_after_reading()
            return held_out, VAL
        loader = make_val_loader(self.problem)
        held_out = self.batching.own_share(
            validation_batches(
                loader or (),
                most,
                seed=derived_seed(seed, EVALUATION),
                where=self.problem.where,
                timeout=self.problem.loader_timeout,
            )
        )
        if sum(map(size_in_bytes, held_out)) <= MOST_BYTES:
            # Reading draws random numbers, after which the training draws its own.
            self._validation = {(seed, most): (held_out, remember_global_state(self.device))}
        return held_out, VAL

    def record(
        self, plan: RunPlan, ready: PreparedRun | None, log: LossLog, *, loss: float | None, stop: Stop, why: str
    ) -> ShortRun:
        """Make the record of a run that has ended, and report it."""
        first = None if ready is None else ready.initial_loss
        made = ShortRun(
            plan=plan,
            seed=self.seed,
            metric=PROBE if ready is None else ready.metric,
            initial_loss=first if first is not None and math.isfinite(first) else None,
            loss=loss,
            stop=stop,
            updates=log.updates + self.batching.wasted_updates,
            why=why,
            fresh=ready is not None and ready.subset is not None and ready.subset.too_large,
            skipped=log.skipped,
            micro_batches=self.batching.micro_batches,
            note=self.batching.noted(self.batching.judging.note, self.preparation.note),
            empty=self.batching.in_use.empty if log.updates else 0,
            rise=rise_of(self.training_losses) if plan.control and loss is not None else 0.0,
            constant=None if ready is None else ready.constant,
            first_loss=log.first if log.first is not None and math.isfinite(log.first) else None,
        )
        self.observer.run_ended(made)
        return made


class RunAttempt:
    """One attempt at a short run."""

    def __init__(self, runs: ShortRuns, plan: RunPlan) -> None:
        runs.observer.run_started(plan)
        self.log = runs.log = LossLog(held=runs.interrupts.held())
        self._runs = runs
        self._plan = plan
        runs.seconds = []
        self._before = 0.0 if runs.clock is None else runs.clock()
        self._ready: PreparedRun | None = None
        self._loss: float | None = None

    @property
    def due(self) -> int:
        return self._runs.preparation.due

    def rewind(self) -> None:
        self._runs.rewind()

    def train(self, cleanup: contextlib.ExitStack) -> StopReason:
        runs, plan, log = self._runs, self._plan, self.log
        ready = self._ready = runs.prepare(plan, cleanup)
        readback = runs.preparation.readback(ready.trial, Metric.TRAIN, runs.deadline)
        updater = runs.preparation.updater(ready.trial, ready.subset or ready.batches, readback, cleanup=cleanup)
        loss = updater.next_loss()
        if loss is None:
            return Stop.OUT_OF_DATA, ""
        first = log.first = loss.item()
        runs.settle_judging(ready, first)
        runs.preparation.report(ready.trial, runs.observer, runs.interrupts)
        drift = math.inf if plan.control else plan.drift
        rule = updater.stopping_rule(first, lambda made, _: f"after {made} updates", drift=drift)
        log.start(rule, readback, max_delay_s=max_batching_delay_s(runs.problem))
        end = rule.before("the loss of the first batch") or train(
            updater,
            log,
            self.rates(),
            deadline=runs.preparation.deadline(runs.deadline),
            updated=self.updated,
            last_loss=False,
        )
        if end[0] is not Stop.COMPLETED:
            return end
        self._loss, stop, why = final_result(ready.held_out(), plan)
        return stop, why

    def rates(self) -> list[float]:
        """Return the rate of each update."""
        factor = schedule_factor(self._plan)
        return [self._plan.lr * factor(step) for step in range(self._plan.steps)]

    def updated(self) -> None:
        """Take note of an update that was made."""
        if self._runs.clock is not None:
            now = self._runs.clock()
            self._runs.seconds.append(now - self._before)
            self._before = now
        with self._runs.interrupts.held():
            self._runs.observer.run_updated(self._plan, self.log.updates, self.log.latest)

    def progress(self, stop: Stop) -> str:
        made = f"after {self.log.updates} updates"
        return {
            Stop.COMPLETED: "",
            Stop.OUT_OF_DATA: f"train_loader ran out {made} and can't be started again",
            Stop.OUT_OF_TIME: f"the time limit was reached {made}",
        }.get(stop, CUT_SHORT)

    def finish(self, stop: Stop, why: str) -> ShortRun:
        return self._runs.record(self._plan, self._ready, self.log, loss=self._loss, stop=stop, why=why)


def final_result(loss: float, plan: RunPlan) -> tuple[float | None, Stop, str]:
    """Return the result of a run that made all its updates: its loss, why it ended, and that in words."""
    if not math.isfinite(loss):
        return None, Stop.NON_FINITE, f"the held-out loss is {loss} after {plan.steps} updates"
    return loss, Stop.COMPLETED, ""
