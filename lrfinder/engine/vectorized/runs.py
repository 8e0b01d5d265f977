"""Several short runs at once, where that is faster: the first one by itself, the others as one stack."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import signal
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lrfinder.engine.losses.divergence import LEAST_SHARE, DivergenceRule
from lrfinder.engine.losses.evaluation import mean_losses
from lrfinder.engine.observer import Observer
from lrfinder.engine.runtime.signals import Terminated
from lrfinder.engine.short_runs import PreparedRun, Progress, ShortRuns, final_result, schedule_factor
from lrfinder.engine.vectorized.models import VmappedModels
from lrfinder.engine.vectorized.optimizers import NotStackable
from lrfinder.records import Graph, Point, RunPlan, Setup, ShortRun, Stop, SweepSettings, Trace, UpdateOptions
from lrfinder.task.batches import to_device

# Fewer don't repay the stack's own cost, 1.5 ms an update: three of a perceptron's took as long as one by one.
LEAST_RUNS = 4
# Updates of the first run that are made again in the stack: in nearly the same losses, and in less time than the others
# would take one by one, or the stack is given up.
CHECKED = 5


def _mean_of_later(seconds: Sequence[float]) -> float:
    return statistics.fmean(seconds[1:] or seconds)


@dataclass(frozen=True, slots=True)
class _Kind:
    """How stacks are judged on a kind of device.

    `typical` is taken of the seconds, by `clock`, that the first updates took; `near` is a relative difference of
    losses, in which products are added up in another order; `most_weights` counts the floats of all members.
    """

    clock: Callable[[], float]
    typical: Callable[[Sequence[float]], float]
    near: float
    most_weights: int


KINDS = {
    # Beyond so many weights they no longer fit the processor's cache while each member by itself would: sixteen
    # perceptrons of 2,400 weights trained in the time of 4, of 18,000 in that of 8, of 85,000 in that of 24.
    "cpu": _Kind(time.process_time, statistics.median, near=1e-4, most_weights=300_000),
    # The host is ahead of a GPU by some updates, and then waits for several: their mean tells, without the first, which
    # loads kernels. Other kernels may multiply in TF32, of three digits. The weights, their gradients and two moments
    # of each fit beside anything: a gigabyte.
    "cuda": _Kind(time.perf_counter, _mean_of_later, near=1e-3, most_weights=60_000_000),
}


# Yields those of the runs that it makes elsewhere, as they end; it is told the seconds that an update takes here.
Elsewhere = Callable[[Sequence[RunPlan], float], Iterator[ShortRun]]


class VectorizedRuns(ShortRuns):
    """Short runs of which several may be asked for at once; what each says is what it says by itself."""

    def __init__(
        self,
        *args: Any,
        observer: Observer,
        device: torch.device,
        elsewhere: Elsewhere | None = None,
        **options: Any,
    ) -> None:
        """`elsewhere` makes what can't be stacked, as far as it likes."""
        self._elsewhere = elsewhere
        self._kind = KINDS.get(device.type)
        self._first = _TimingObserver(observer, time.process_time if self._kind is None else self._kind.clock)
        super().__init__(*args, observer=self._first, device=device, **options)

    def run_all(self, plans: Sequence[RunPlan]) -> Iterator[ShortRun]:
        """Make the runs and yield each as it ends, until one was cut short.

        The same runs as one by one, but for rounding: where a model is small and its optimizer known, several are
        trained at once if the first updates show that this is faster; what is left is offered elsewhere.
        """
        for _, group in itertools.groupby(plans, key=lambda plan: (plan.repeat, plan.steps, plan.batches)):
            alike = list(group)
            began = time.monotonic()
            first = self.run(alike[0])
            seconds = (time.monotonic() - began) / max(1, first.updates)
            losses, rest = self.losses, alike[1:]
            yield first
            at_once = self._at_once(first, losses, rest)
            yield from at_once
            rest = rest[len(at_once) :]
            for made in self._made_elsewhere(rest, seconds):
                rest.remove(made.plan)
                yield made
            for plan in rest:
                yield self.run(plan)

    def _made_elsewhere(self, plans: Sequence[RunPlan], seconds: float) -> Iterator[ShortRun]:
        if self._elsewhere is None or not plans:
            return
        runs = self._elsewhere(tuple(plans), seconds)
        while True:
            with self._interrupts.allowed():  # while it waits, and not while the run is told
                made = next(runs, None)
            if made is None:
                return
            self._observer.run_started(made.plan)
            self._observer.run_ended(made)
            yield made

    def _at_once(self, first: ShortRun, losses: Sequence[float], plans: list[RunPlan]) -> list[ShortRun]:
        """Return the runs of `plans`, made as a stack; none where they can't be or had better not be.

        `losses` are those of the training of `first`.
        """
        if len(plans) < LEAST_RUNS - 1 or self._kind is None or first.updates < CHECKED:
            return []
        if (
            isinstance(self._problem.train_loader, Iterator)
            or dataclasses.replace(self._problem.training, graph=Graph.OFF) != UpdateOptions()
        ):
            return []  # a loader with only one start; gradients that are clipped or gathered, or another precision
        if self._batching.micro_batches > 1:
            return []  # memory ran out for one of them
        progress, members = Progress(), _Members((first.plan, *plans), losses, self._kind)
        try:
            if self._snapshot is not None:
                self._snapshot.rewind()
            with contextlib.ExitStack() as cleanup, self._interrupts.allowed(), torch.enable_grad():
                cleanup.enter_context(warnings.catch_warnings())
                warnings.filterwarnings("error", message=".*performance drop.*")  # torch maps an operation one by one
                self._train_stack(self._begin(first.plan, progress, cleanup), members)
        except (KeyboardInterrupt, Terminated) as signalled:
            members.end_all(*self._interrupted(isinstance(signalled, Terminated)))
        except Exception:  # noqa: BLE001 - one by one they do what they do: work, or raise what the user should see
            if self._interrupts.pending is None:
                return []
            members.end_all(*self._interrupted(self._interrupts.pending != signal.SIGINT))
        return [self._told(plan, progress, members, number) for number, plan in enumerate(plans, start=1)]

    def _told(self, plan: RunPlan, progress: Progress, members: _Members, number: int) -> ShortRun:
        self._observer.run_started(plan)
        progress.updates = members.updates[number]
        made = self._made(plan, progress, *members.ended[number])
        self._observer.run_ended(made)
        return made

    def _train_stack(self, begun: PreparedRun, members: _Members) -> None:
        """Train until every member has ended; raises NotStackable where one by one is as good, or the only way."""
        members.stack(begun)
        took: list[float] = []
        batches = self._batching.handed_out(begun.batches)
        for step in range(members.steps):
            began = members.kind.clock()
            batch = next(batches, _NONE)
            if batch is _NONE:
                why = f"train_loader ran out after {step} updates and can't be started again"
                return members.end_all(Stop.OUT_OF_DATA, why)
            members.observe(to_device(batch, self._device), step)
            if time.monotonic() >= self._deadline:
                return members.end_all(Stop.OUT_OF_TIME, f"the time limit was reached after {step} updates")
            if not members.update(step):
                return None
            took.append(members.kind.clock() - began)
            if step + 1 == CHECKED:
                self._check(members, took)
        return members.judge(begun, self._device)

    def _check(self, members: _Members, took: list[float]) -> None:
        if not members.agree():
            raise NotStackable("the losses aren't those of the run by itself")
        typical = members.kind.typical
        if typical(took) > typical(self._first.seconds) * len(members.updates):
            raise NotStackable("one by one they are faster")


class _Members:
    """The runs of a stack: of `plans`, the first is made again for CHECKED updates, the others as long as they last."""

    def __init__(self, plans: Sequence[RunPlan], losses: Sequence[float], kind: _Kind) -> None:
        """`losses` are the first run's training losses, as it was made by itself."""
        self.steps = plans[0].steps
        self.kind = kind
        self._losses = losses
        self._again: list[float] = []  # the same in the stack
        self.ended: dict[int, tuple[float | None, Stop, str]] = {}  # by number, as `updates`
        self.updates = dict.fromkeys(range(1, len(plans)), 0)
        self._plans = plans
        self._factors = [schedule_factor(plan) for plan in plans]
        self._rules: dict[int, DivergenceRule] = {}
        self._there = list(range(len(plans)))  # whose weights are in the stack

    def stack(self, begun: PreparedRun) -> None:
        """Put all members where the run begins."""
        size = sum(parameter.numel() for parameter in begun.trial.model.parameters())
        if size * len(self._plans) > self.kind.most_weights:
            raise NotStackable("the models are too large")
        self._stack = VmappedModels(begun.trial, len(self._plans))

    def observe(self, batch: Any, step: int) -> None:
        """Take in the losses of a batch before update `step`; a member that they end is noted."""
        losses = self._stack.train_losses(batch).tolist()
        for number, value in zip(self._there, losses, strict=True):
            if number == 0:
                self._again.append(value)
                continue
            rule = self._rules.setdefault(number, DivergenceRule(least_rise=LEAST_SHARE * abs(value)))
            end = _ended(value, step, rule)
            if end is not None:
                self.ended[number] = (None, *end)

    def agree(self) -> bool:
        """Return whether the first run has the losses again that it had by itself."""
        pairs = zip(self._again, self._losses, strict=False)
        return all(math.isclose(again, loss, rel_tol=self.kind.near) for again, loss in pairs)

    def update(self, step: int) -> bool:
        """Make update `step`, and let those go that have ended; return whether any member goes on."""
        going = [number for number in self._there if number and number not in self.ended]
        if not going:
            return False
        self._stack.update([self._plans[n].lr * self._factors[n](step) for n in self._there])
        for number in going:
            self.updates[number] += 1
        kept = [0, *going] if step + 1 < CHECKED else going
        if kept != self._there:
            self._stack.keep([self._there.index(number) for number in kept])
            self._there = kept
        return True

    def judge(self, begun: PreparedRun, device: torch.device) -> None:
        """End all that are left with their losses on the held-out data."""
        losses = self._stack.held_out_losses
        judged = mean_losses(begun.trial, begun.held_out, losses, device=device, seed=begun.seed)
        for number, value in zip(self._there, judged.tolist(), strict=True):
            self.ended[number] = final_result(value, self._plans[number])

    def end_all(self, stop: Stop, why: str) -> None:
        """End all that haven't ended yet."""
        for number in self.updates:
            self.ended.setdefault(number, (None, stop, why))


def _ended(loss: float, updates: int, rule: DivergenceRule) -> tuple[Stop, str] | None:
    """Return why `loss`, that follows update number `updates`, ends a run, or None."""
    if not math.isfinite(loss):
        return Stop.NON_FINITE, f"the loss is {loss} after {updates} updates"
    if rule.observe(loss):
        return (
            Stop.DIVERGED,
            f"the loss began at {rule.start:.4g}, and the median of the last five is above {rule.limit:.4g}",
        )
    return None


_NONE = object()  # what no loader yields


class _TimingObserver(Observer):
    """Passes on what it is told, and keeps the seconds by `clock` of the last run's updates."""

    def __init__(self, inner: Observer, clock: Callable[[], float]) -> None:
        self._inner = inner
        self._clock = clock
        self._before = 0.0
        self.seconds: list[float] = []

    def repeat_started(self, repeat: int) -> None:
        self._inner.repeat_started(repeat)

    def measured(self, point: Point) -> None:
        self._inner.measured(point)

    def repeat_ended(self, trace: Trace) -> None:
        self._inner.repeat_ended(trace)

    def short_sweeps_started(self, settings: SweepSettings) -> None:
        self._inner.short_sweeps_started(settings)

    def prepared(self, setup: Setup) -> None:
        self._inner.prepared(setup)

    def run_started(self, plan: RunPlan) -> None:
        self.seconds = []
        self._before = self._clock()
        self._inner.run_started(plan)

    def run_updated(self, plan: RunPlan, updates: int, loss: float) -> None:
        now = self._clock()
        self.seconds.append(now - self._before)
        self._before = now
        self._inner.run_updated(plan, updates, loss)

    def run_ended(self, run: ShortRun) -> None:
        self._inner.run_ended(run)
