"""Several short runs at once, if that is faster: the first one by itself, the others stacked in one model."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lrfinder.engine.data.fetch import NO_MORE
from lrfinder.engine.losses.divergence import LEAST_SHARE, DivergenceRule
from lrfinder.engine.losses.evaluation import PLAIN, Way, mean_losses
from lrfinder.engine.losses.log import LossLog
from lrfinder.engine.runtime.signals import Terminated, answer_signal
from lrfinder.engine.short_runs import CUT_SHORT, PreparedRun, ShortRuns, final_result
from lrfinder.engine.vectorized.models import VmappedModels
from lrfinder.engine.vectorized.optimizers import NotStackable
from lrfinder.records import Graph, RunPlan, ShortRun, Stop, UpdateOptions
from lrfinder.search.run_schedule import schedule_factor
from lrfinder.task.batches import to_device

LEAST_RUNS = 4  # fewer are made one by one: engine/README.md#least_runs
CHECKED = 5  # updates of the first run that are made again: engine/README.md#checked


def _mean_of_later(seconds: Sequence[float]) -> float:
    return statistics.fmean(seconds[1:] or seconds)


@dataclass(frozen=True, slots=True)
class _Kind:
    """Limits for stacks on a kind of device.

    `typical` gives a typical value of the seconds, by `clock`, of the first updates. `near` is the allowed relative
    difference of losses, whose sums are in another order. `most_weights` is the most floats that all members may have.
    """

    clock: Callable[[], float]
    typical: Callable[[Sequence[float]], float]
    near: float
    most_weights: int


KINDS = {  # by type of device: engine/README.md#kinds
    "cpu": _Kind(time.process_time, statistics.median, near=1e-4, most_weights=300_000),
    "cuda": _Kind(time.perf_counter, _mean_of_later, near=1e-3, most_weights=60_000_000),
}


class VectorizedRuns:
    """Makes several short runs in one batched computation, if that is faster; the results are those of single runs."""

    def __init__(self, runs: ShortRuns) -> None:
        self._runs = runs
        self._kind = KINDS.get(runs.device.type)
        runs.clock = None if self._kind is None else self._kind.clock

    def run(self, first: ShortRun, losses: Sequence[float], plans: Sequence[RunPlan]) -> list[ShortRun]:
        """Make the runs of `plans` at once and return them; an empty list if that isn't possible, or is slower.

        `losses` are the training losses of `first`.
        """
        runs = self._runs
        if len(plans) < LEAST_RUNS - 1 or self._kind is None or first.updates < CHECKED:
            return []
        if (
            isinstance(runs.problem.train_loader, Iterator)
            or dataclasses.replace(runs.problem.training, graph=Graph.OFF) != UpdateOptions()
        ):
            return []  # a loader that can't start again; clipped or accumulated gradients, or another precision
        if runs.batching.micro_batches > 1:
            return []  # memory ran out for a single one
        members = _Members((first.plan, *plans), losses, self._kind)
        ready: PreparedRun | None = None
        try:
            runs.rewind()
            with contextlib.ExitStack() as cleanup, runs.interrupts.allowed(), torch.enable_grad():
                cleanup.enter_context(warnings.catch_warnings())
                warnings.filterwarnings("error", message=".*performance drop.*")  # torch maps an operation one by one
                ready = runs.prepare(first.plan, cleanup)
                self._train_stack(ready, members)
        except (Exception, KeyboardInterrupt, Terminated) as error:  # noqa: BLE001 - one by one they may work
            stop = answer_signal(runs.interrupts, error)
            if stop is None:
                return []
            members.end_all(stop, CUT_SHORT)
        return [self._record(plan, ready, members, number) for number, plan in enumerate(plans, start=1)]

    def _record(self, plan: RunPlan, ready: PreparedRun | None, members: _Members, number: int) -> ShortRun:
        self._runs.observer.run_started(plan)
        log = LossLog()
        log.first = members.first_loss
        log.updates = members.updates[number]
        loss, stop, why = members.ended[number]
        return self._runs.record(plan, ready, log, loss=loss, stop=stop, why=why)

    def _train_stack(self, ready: PreparedRun, members: _Members) -> None:
        """Train until every member has ended. Raises NotStackable if they can't be trained so, or faster one by one."""
        runs = self._runs
        members.stack(ready)
        took: list[float] = []
        batches = ready.subset or ready.batches
        for step in range(members.steps):
            began = members.kind.clock()
            batch = next(batches, NO_MORE)
            if batch is NO_MORE:
                why = f"train_loader ran out after {step} updates and can't be started again"
                return members.end_all(Stop.OUT_OF_DATA, why)
            members.observe(to_device(batch, runs.device), step)
            if time.monotonic() >= runs.deadline:
                return members.end_all(Stop.OUT_OF_TIME, f"the time limit was reached after {step} updates")
            if not members.update(step):
                return None
            took.append(members.kind.clock() - began)
            if step + 1 == CHECKED:
                self._check(members, took)
        return members.judge(ready, runs.device, runs.batching.judging.way or PLAIN)

    def _check(self, members: _Members, took: list[float]) -> None:
        if not members.agree():
            raise NotStackable("the losses aren't those of the run by itself")
        typical = members.kind.typical
        if typical(took) > typical(self._runs.seconds) * len(members.updates):
            raise NotStackable("one by one they are faster")


class _Members:
    """The runs of a stack: the first of `plans` is made again for CHECKED updates, the others as long as they last."""

    def __init__(self, plans: Sequence[RunPlan], losses: Sequence[float], kind: _Kind) -> None:
        """`losses` are the training losses of the first run, made by itself."""
        self.steps = plans[0].steps
        self.kind = kind
        self._losses = losses
        self.first_loss = losses[0]  # of all: they begin alike
        self._again: list[float] = []  # the same in the stack
        self.ended: dict[int, tuple[float | None, Stop, str]] = {}  # by number, as `updates`
        self.updates = dict.fromkeys(range(1, len(plans)), 0)
        self._plans = plans
        self._factors = [schedule_factor(plan) for plan in plans]
        self._rules: dict[int, DivergenceRule] = {}
        self._there = list(range(len(plans)))  # whose weights are in the stack

    def stack(self, ready: PreparedRun) -> None:
        """Build the stack, all members at the start of the run."""
        size = sum(parameter.numel() for parameter in ready.trial.model.parameters())
        if size * len(self._plans) > self.kind.most_weights:
            raise NotStackable("the models are too large")
        self._stack = VmappedModels(ready.trial, len(self._plans))

    def observe(self, batch: Any, step: int) -> None:
        """Compute the losses of a batch before update `step`, and note which members they end."""
        losses = self._stack.train_losses(batch).tolist()
        for number, value in zip(self._there, losses, strict=True):
            if number == 0:
                self._again.append(value)
                continue
            least = LEAST_SHARE * abs(value) + self._plans[number].drift
            rule = self._rules.setdefault(number, DivergenceRule(least_rise=least))
            end = _ended(value, step, rule)
            if end is not None:
                self.ended[number] = (None, *end)

    def agree(self) -> bool:
        """Return whether the first run has the same losses as by itself."""
        pairs = zip(self._again, self._losses, strict=False)
        return all(math.isclose(again, loss, rel_tol=self.kind.near) for again, loss in pairs)

    def update(self, step: int) -> bool:
        """Make update `step`, and drop the members that have ended; return whether any goes on."""
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

    def judge(self, ready: PreparedRun, device: torch.device, way: Way) -> None:
        """End the remaining members with their losses on the held-out data."""
        losses = self._stack.held_out_losses
        held_out = ready.held_out
        judged = mean_losses(ready.trial, held_out.batches, losses, device=device, seed=held_out.seed, way=way)
        for number, value in zip(self._there, judged.tolist(), strict=True):
            self.ended[number] = final_result(value, self._plans[number])

    def end_all(self, stop: Stop, why: str) -> None:
        """End all that haven't ended yet."""
        for number in self.updates:
            self.ended.setdefault(number, (None, stop, why))


def _ended(loss: float, updates: int, rule: DivergenceRule) -> tuple[Stop, str] | None:
    """Return why `loss`, which follows `updates` updates, ends a run, or None."""
    if not math.isfinite(loss):
        return Stop.NON_FINITE, f"the loss is {loss} after {updates} updates"
    if rule.observe(loss):
        return Stop.DIVERGED, rule.reason
    return None
