"""Runs inside a training loop of the user's own: the optimizer's hooks set the rates, the loop tells its losses.

One run follows the other: a repeat of a sweep or a short run begins where the loop was when this was entered. The loss
before an update is computed in the loop, so the update that follows the last loss of a run is undone.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Generator, Iterable
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import nn

from lrfinder.engine.losses.log import StopReason
from lrfinder.engine.restore.containers import is_container
from lrfinder.engine.restore.snapshot import Snapshot, loader_preserved, preserved
from lrfinder.engine.runtime.failures import describe_error
from lrfinder.engine.runtime.rng import is_generator, seed_everything
from lrfinder.engine.runtime.signals import Terminated
from lrfinder.engine.update.fast_path import LearningRates, set_lr
from lrfinder.engine.update.updater import MOST_SKIPS
from lrfinder.errors import UsageError
from lrfinder.records import Stop
from lrfinder.task.problem import Problem, SweptOptimizer

MOST_UNUSED = 1000  # losses before the first step: an accumulation of more is not known


class Run(Protocol):
    """What is measured in the loop, one after the other."""

    seed: int

    @property
    def rate(self) -> float:
        """The rate of the coming update."""

    @property
    def updates(self) -> int:
        """Those that were made and are kept."""

    def begin(self) -> None:
        """The objects are as they were when the loop was entered, and the generators are seeded."""

    def loss(self, value: float) -> StopReason | None:
        """Judge the loss before an update; return the end if the run ends with it: then that update is undone."""

    def updated(self) -> StopReason | None:
        """An update was made and is kept; return the end if it was the last one."""

    def finish(self, stop: Stop, why: str, note: str) -> None:
        """The run has ended; `note` says if no weight has moved."""


class OwnLoop:
    """A context in which the runs of `runs` are made, as the loop in it trains; `done` once there is none left.

    At the end the objects of `problem`, those `beside` them, the schedulers of the optimizer and all random number
    generators are as they were, bit for bit, on every way out. `problem` holds a live model and optimizer. `late`: the
    loop tells the loss of an update after it.
    """

    def __init__(
        self,
        problem: Problem,
        swept: SweptOptimizer,
        runs: Generator[Run, None, None],
        device: torch.device,
        *,
        beside: Iterable[Any] = (),
        late: bool = False,
    ) -> None:
        self._problem = problem
        self._optimizer = swept.optimizer
        self._rates = LearningRates([swept])
        self._runs = runs
        self._device = device
        self._beside = list(beside)
        self._late = late
        self._stack = contextlib.ExitStack()
        self._snapshot: Snapshot | None = None
        self._run: Run | None = None
        self._losses: list[float] = []  # since the last update, told before it
        self._owed = False  # an update was made whose loss is told after it
        self._inside = False  # in the optimizer's step(), which may call a closure
        self._own: list[float] = []  # the rates that the loop set
        self.done = False
        self.per_update = 0  # losses of an update, the least: more come before one whose first steps a scaler skips

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            optimizer = self._optimizer
            # Before the snapshot, which puts the optimizer's hooks back, too.
            stack.callback(optimizer.register_step_pre_hook(self._before).remove)
            stack.callback(optimizer.register_step_post_hook(self._after).remove)
            for loader in filter(is_loader, self._beside):
                stack.enter_context(loader_preserved(loader))
            trained = [thing for thing in self._beside if _is_trained(thing)]
            trained += map(vars, schedulers_of(optimizer))
            # The others are put back at the end only: a loss scaler, say, is in its own step() where a run ends.
            others = Snapshot(_root(thing) for thing in self._beside if not _is_trained(thing) and not is_loader(thing))
            stack.callback(others.tensors.put_gradients_back)
            stack.callback(others.rewind)
            self._snapshot = stack.enter_context(preserved(self._problem, self._device, beside=trained))
            self._next(rewind=False)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inside = False
        with self._stack:
            if self._run is not None and not self.done:
                self._run.finish(*_cut_short(error), "")
            self.done = True
            self._runs.close()

    def loss(self, value: torch.Tensor | float) -> None:
        """Take the loss of a batch, before its update (or after it, if `late`); several before one are averaged.

        Raises UsageError if it isn't one number, or if no step of the optimizer follows the losses.
        """
        number = _number(value)
        if self.done or (self._inside and self._losses):  # a closure that is evaluated again has moved weights
            return
        self._losses.append(number)
        if self._owed:
            self._complete()
        elif self._run is not None:
            self._check_steps(self._run)

    def _before(self, _optimizer: Any, _args: Any, _keywords: Any) -> None:
        if self.done or self._run is None:
            return
        if self._owed:
            raise UsageError(
                "the optimizer made a step, and the loop told no loss for the one before",
                hint="call finder.loss(loss) for each batch, before optimizer.step()",
            )
        self._inside = True
        self._own = [float(group["lr"]) for group in self._optimizer.param_groups]
        self._rates.set(self._run.rate)

    def _after(self, _optimizer: Any, _args: Any, _keywords: Any) -> None:
        if self.done or not self._inside:
            return
        self._inside = False
        # The loop's schedulers find what they left.
        for group, rate in zip(self._optimizer.param_groups, self._own, strict=True):
            set_lr(group, rate)
        self._owed = True
        if self._losses and not self._late:
            self._complete()

    def _complete(self) -> None:
        """Count the update that was just made, whose losses are known, or undo it."""
        run = self._run
        assert run is not None  # noqa: S101 - not done
        told = len(self._losses)
        self.per_update = min(self.per_update or told, told)
        loss = sum(self._losses) / told
        self._losses.clear()
        self._owed = False
        end = run.loss(loss) or run.updated()
        if end is not None:
            run.finish(*end, self._unmoved(run))
            self._next()

    def _unmoved(self, run: Run) -> str:
        return "" if self._snapshot is None else self._snapshot.unmoved([self._optimizer], run.updates)

    def _next(self, *, rewind: bool = True) -> None:
        """Go back to the start, and begin the next run."""
        self._run = next(self._runs, None)
        self.done = self._run is None
        if rewind and self._snapshot is not None:
            self._snapshot.rewind()
        if self._run is not None:
            seed_everything(self._run.seed, self._device)
            self._run.begin()

    def _check_steps(self, run: Run) -> None:
        if len(self._losses) > MOST_UNUSED:
            raise UsageError(
                f"{MOST_UNUSED} losses came, and the optimizer that is attached made no step",
                hint="attach the optimizer whose step() the loop calls",
            )
        if len(self._losses) > MOST_SKIPS * max(1, self.per_update) and not all(map(math.isfinite, self._losses)):
            # A loss scaler skips each step, and will go on so.
            run.finish(Stop.NON_FINITE, f"the loss was not finite in {len(self._losses)} batches without an update", "")
            self._losses.clear()
            self._next()


def schedulers_of(optimizer: torch.optim.Optimizer) -> list[Any]:
    """Return the live schedulers of torch that set the rates of `optimizer`; only they know that they do."""
    import gc

    kind = torch.optim.lr_scheduler.LRScheduler
    return [
        thing
        for thing in gc.get_objects()
        if issubclass(type(thing), kind) and vars(thing).get("optimizer") is optimizer
    ]


def _cut_short(error: BaseException | None) -> StopReason:
    if error is None:
        return Stop.OUT_OF_DATA, "the loop ended"
    if isinstance(error, Terminated):
        return Stop.TERMINATED, ""
    if isinstance(error, KeyboardInterrupt):
        return Stop.INTERRUPTED, ""
    return Stop.FAILED, describe_error(error)


def _is_trained(thing: Any) -> bool:
    return isinstance(thing, nn.Module | torch.optim.Optimizer)


def _root(thing: Any) -> Any:
    """Return what a snapshot begins with: a live object itself, of any other object its attributes, if it has any."""
    known = isinstance(thing, torch.Tensor | np.ndarray) or is_container(thing) or is_generator(thing)
    return thing if known else getattr(thing, "__dict__", {})


def is_loader(thing: Any) -> bool:
    """Tell whether one of the objects beside the model gives batches."""
    known = isinstance(thing, nn.Module | torch.Tensor | np.ndarray) or is_container(thing)
    return not known and hasattr(thing, "__iter__")


def _number(value: Any) -> float:
    try:
        return float(value.detach()) if isinstance(value, torch.Tensor) else float(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"the loss is not one number: {error}", hint="call finder.loss(loss) with a scalar") from None
