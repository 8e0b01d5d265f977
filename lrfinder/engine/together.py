"""Several short runs at once, where that is faster: the first one by itself, the others as one stack."""

from __future__ import annotations

import contextlib
import itertools
import math
import signal
import statistics
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from lrfinder.engine.divergence import LEAST_SHARE, DivergenceRule
from lrfinder.engine.evaluation import mean_losses
from lrfinder.engine.observer import Observer
from lrfinder.engine.short_runs import Begun, Progress, ShortRuns, factor_of, reached
from lrfinder.engine.signals import Terminated
from lrfinder.engine.stacked import Stack
from lrfinder.engine.stacked_updates import NotStackable
from lrfinder.records import Point, RunPlan, Setup, ShortRun, Stop, Trace, Training
from lrfinder.task.batches import to_device

# Fewer don't repay the stack's own cost, 1.5 ms an update: three of a perceptron's took as long as one by one.
LEAST_RUNS = 4
# Floats of all members' weights. Beyond, they no longer fit the processor's cache while each by itself would: sixteen
# perceptrons of 2,400 weights trained in the time of 4, of 18,000 in that of 8, of 85,000 in that of 24.
MOST_WEIGHTS = 300_000
# Updates of the first run that are made again in the stack: in losses this near (the products are added up in another
# order), and in less time than the others would take one by one, or the stack is given up.
CHECKED = 5
NEAR = 1e-4


class ManyShortRuns(ShortRuns):
    """Short runs of which several may be asked for at once; what each says is what it says by itself."""

    def __init__(self, *args: Any, observer: Observer, **options: Any) -> None:
        self._first = _Noting(observer)
        super().__init__(*args, observer=self._first, **options)

    def run_all(self, plans: Sequence[RunPlan]) -> Iterator[ShortRun]:
        """Make the runs and yield each as it ends, until one was cut short.

        The same runs as one by one, but for rounding: on a CPU, where a model is small and its optimizer known,
        several are trained at once if the first updates show that this is faster.
        """
        for _, group in itertools.groupby(plans, key=lambda plan: (plan.repeat, plan.steps, plan.batches)):
            alike = list(group)
            first = self.run(alike[0])
            yield first
            at_once = self._at_once(first, alike[1:])
            for plan, made in itertools.zip_longest(alike[1:], at_once):
                yield self.run(plan) if made is None else made

    def _at_once(self, first: ShortRun, plans: list[RunPlan]) -> list[ShortRun]:
        """Return the runs of `plans`, made as a stack; none where they can't be or had better not be."""
        if len(plans) < LEAST_RUNS - 1 or self._device.type != "cpu" or first.updates < CHECKED:
            return []
        if isinstance(self._problem.train_loader, Iterator) or self._problem.training != Training():
            return []  # a loader with only one start; gradients that are clipped or gathered, or another precision
        if self._batching.micro_batches > 1:
            return []  # memory ran out for one of them
        progress, members = Progress(), _Members((first.plan, *plans))
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

    def _train_stack(self, begun: Begun, members: _Members) -> None:
        """Train until every member has ended; raises NotStackable where one by one is as good, or the only way."""
        members.stack(begun)
        took: list[float] = []
        batches = self._batching.handed_out(begun.batches)
        for step in range(members.steps):
            began = time.process_time()
            batch = next(batches, _NONE)
            if batch is _NONE:
                why = f"train_loader ran out after {step} updates and can't be started again"
                return members.end_all(Stop.OUT_OF_DATA, why)
            members.observe(to_device(batch, self._device), step)
            if time.monotonic() >= self._deadline:
                return members.end_all(Stop.OUT_OF_TIME, f"the time limit was reached after {step} updates")
            if not members.update(step):
                return None
            took.append(time.process_time() - began)
            if step + 1 == CHECKED:
                self._check(members, took)
        return members.judge(begun, self._device)

    def _check(self, members: _Members, took: list[float]) -> None:
        if not all(itertools.starmap(_near, zip(members.again, self._first.losses, strict=False))):
            raise NotStackable("the losses aren't those of the run by itself")
        if statistics.median(took) > statistics.median(self._first.seconds) * len(members.updates):
            raise NotStackable("one by one they are faster")


def _near(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=NEAR)


class _Members:
    """The runs of a stack: of `plans`, the first is made again for CHECKED updates, the others as long as they last."""

    def __init__(self, plans: Sequence[RunPlan]) -> None:
        self.steps = plans[0].steps
        self.again: list[float] = []  # the first run's training losses
        self.ended: dict[int, tuple[float | None, Stop, str]] = {}  # by number, as `updates`
        self.updates = dict.fromkeys(range(1, len(plans)), 0)
        self._plans = plans
        self._factors = [factor_of(plan) for plan in plans]
        self._rules: dict[int, DivergenceRule] = {}
        self._there = list(range(len(plans)))  # whose weights are in the stack

    def stack(self, begun: Begun) -> None:
        """Put all members where the run begins."""
        size = sum(parameter.numel() for parameter in begun.trial.model.parameters())
        if size * len(self._plans) > MOST_WEIGHTS:
            raise NotStackable("the models are too large")
        self._stack = Stack(begun.trial, len(self._plans))

    def observe(self, batch: Any, step: int) -> None:
        """Take in the losses of a batch before update `step`; a member that they end is noted."""
        losses = self._stack.train_losses(batch).tolist()
        for number, value in zip(self._there, losses, strict=True):
            if number == 0:
                self.again.append(value)
                continue
            rule = self._rules.setdefault(number, DivergenceRule(least_rise=LEAST_SHARE * abs(value)))
            end = _ended(value, step, rule)
            if end is not None:
                self.ended[number] = (None, *end)

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

    def judge(self, begun: Begun, device: torch.device) -> None:
        """End all that are left with their losses on the held-out data."""
        losses = self._stack.held_out_losses
        judged = mean_losses(begun.trial, begun.held_out, losses, device=device, seed=begun.seed)
        for number, value in zip(self._there, judged.tolist(), strict=True):
            self.ended[number] = reached(value, self._plans[number])

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


class _Noting:
    """Passes on what it is told, and keeps the losses and the processor time of the last run's updates."""

    def __init__(self, inner: Observer) -> None:
        self._inner = inner
        self._before = 0.0
        self.losses: list[float] = []
        self.seconds: list[float] = []

    def repeat_started(self, repeat: int) -> None:
        self._inner.repeat_started(repeat)

    def measured(self, point: Point) -> None:
        self._inner.measured(point)

    def repeat_ended(self, trace: Trace) -> None:
        self._inner.repeat_ended(trace)

    def prepared(self, setup: Setup) -> None:
        self._inner.prepared(setup)

    def run_started(self, plan: RunPlan) -> None:
        self.losses, self.seconds = [], []
        self._before = time.process_time()
        self._inner.run_started(plan)

    def run_updated(self, plan: RunPlan, updates: int, loss: float) -> None:
        now = time.process_time()
        self.losses.append(loss)
        self.seconds.append(now - self._before)
        self._before = now
        self._inner.run_updated(plan, updates, loss)

    def run_ended(self, run: ShortRun) -> None:
        self._inner.run_ended(run)
