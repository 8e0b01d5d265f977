"""Updates from batches: the loss of the next ones, then a step with its gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple, Protocol

import torch

from lrfinder.engine.data.fetch import NO_MORE
from lrfinder.engine.losses.log import StoppingRule, When
from lrfinder.engine.update.fast_path import BatchInUse, FastPath, LearningRates
from lrfinder.engine.update.optimizer_step import OptimizerStep
from lrfinder.errors import ModelFileError, add_location, user_code
from lrfinder.records import Stop, UpdateOptions
from lrfinder.task.batches import to_device
from lrfinder.task.problem import COMMON, BuiltProblem

MOST_SKIPS = 20  # in a row, by the loss scaler: engine/README.md#most_skips


class Part(NamedTuple):
    """A batch or a part of one, its share of the update's loss, and the number of the batch."""

    share: float
    number: int
    batch: Any


class CapturedUpdate(Protocol):
    """An update that was captured once and is replayed for each batch of the same shape; see `engine/extensions.py`."""

    def takes(self, batch: Any) -> bool:
        """Return whether the update on `batch` can be replayed."""

    def loss(self, batch: Any) -> torch.Tensor:
        """Return the loss of `batch`, without waiting for it, and leave its gradient for `step`."""

    def step(self) -> None:
        """Make the optimizer's step with the gradient and the rates that are there now."""


class Updater:
    """Makes the updates of a trial: `next_loss`, then `make`, in turn.

    `next_loss` computes the loss of the batches of the next update, before that update, so one forward pass is enough
    for both. An update takes `training.accumulate` batches, each in the parts that `split` makes, with their shares.
    `next_loss` computes the gradient of all parts but the last, so that only one autograd graph is kept; `make`
    computes that of the last part.
    """

    def __init__(
        self,
        trial: BuiltProblem,
        training: UpdateOptions,
        batches: Iterator[Any],
        device: torch.device,
        *,
        split: Callable[[Any], list[tuple[float, Any]]] | None,
        late: bool = False,
        captured: CapturedUpdate | None = None,
        in_use: BatchInUse | None = None,
    ) -> None:
        """`split` None: batches are computed whole. `captured` makes the updates of the batches that it takes.

        `late`: losses are read when their gradients are gone; else those of an update stay until the next one.
        """
        self._trial = trial
        self._training = training
        self._batches = batches
        self._device = device
        self._split = split
        self._late = late
        self._captured = captured
        self._in_use = in_use or BatchInUse()
        self.fast_path: FastPath | None = None  # makes the updates after the first one, if it can
        self._replays = False  # whether the update to be made is replayed
        self._rates = LearningRates(trial.parts)
        self._steps: dict[str, OptimizerStep] = {}
        self._group: list[Part] = []  # those of the next update, if it may compute their loss again
        self._keeps = True  # whether it may: not known before the first step
        self._pending: dict[str, torch.Tensor] = {}  # the losses of the last of them, by optimizer
        self._share = 1.0  # of the last of them in the update's loss
        self._count = 0  # batches
        self._made = 0
        self._skips = 0  # in a row

    def stuck(self, rate: float) -> tuple[Stop, str] | None:
        """Return the end if the loss scaler has skipped MOST_SKIPS updates in a row, at `rate`; else None."""
        if self._skips < MOST_SKIPS:
            return None
        return Stop.NON_FINITE, (
            f"the gradient overflowed in {self._skips} updates in a row at rate {rate:.3g}, however far the loss was "
            "scaled down"
        )

    def next_loss(self, *, gradient: bool = True) -> torch.Tensor | None:
        """Return the mean loss of the next update's batches, without waiting for it; None if they have run out.

        Without `gradient` no update can follow. Raises what the user's code raises.
        """
        while True:
            self._group.clear()
            parts = self._next_parts()
            if not parts:
                return None
            if len(parts) > 1:
                return self._accumulated(parts, gradient=gradient)
            self._share = 1.0
            self._replays = self._captured is not None and self._captured.takes(parts[0].batch)
            if self._captured is not None and self._replays:
                return self._captured.loss(parts[0].batch)
            self._pending = self._losses_of(parts[0])
            if self._pending:
                return self._measured(self._pending).detach()
            self._in_use.skip(parts[0].number)

    def make(self, rate: float) -> bool:
        """Make an update at `rate`; return False if the loss scaler skipped it, since the gradient overflowed.

        Optimizers with losses of their own step one after the other: the first with the loss of `next_loss`, each
        other with its loss after the steps before it.
        """
        self._rates.set(rate)
        if self._captured is not None and self._replays:
            self._captured.step()
            self._made += 1
            return True
        whole = self._share == 1.0
        name, *others = self._pending
        first = self._pending[name]
        self._pending.clear()  # frees the graphs of the other losses
        step = self._step_for(name)
        if whole:
            step.zero_grad()
        step.backward(first if whole else self._share * first, self._made)
        applied = self._make_step(step, first if whole else None)
        self._keeps = step.evaluates_again or bool(others)
        for other in others:
            applied &= self._make_step(self._step_for(other), self._again(other))
        self._made += applied
        self._skips = 0 if applied else self._skips + 1
        if self._made == 1:
            self._rates.check(rate)
        if step.is_plain and self._is_plain():
            self.fast_path = FastPath(
                self._trial,
                self._batches,
                self._device,
                self._rates,
                count=self._count,
                late=self._late,
                in_use=self._in_use,
            )
        return applied

    def _is_plain(self) -> bool:
        return (
            len(self._trial.parts) == 1
            and self._trial.named_losses is None
            and self._training.accumulate == 1
            and self._split is None
            and self._captured is None
        )

    def _make_step(self, step: OptimizerStep, loss: torch.Tensor | None) -> bool:
        """Make `step`; return False if the loss scaler skipped it and it is that of the swept optimizer."""
        stepped = step.step(loss, self._made)
        if self._late:
            step.zero_grad()  # frees memory for the next loss
        return stepped or not step.is_swept

    def stopping_rule(self, first: float, when: When, *, drift: float = 0.0) -> StoppingRule:
        """Return the rule for the losses after updates; `first` is the loss before any, `drift` a rise at any rate."""
        # With several parts, or in a replay, the gradients of the coming update are there already when the loss is.
        gradients = self._share == 1.0 and self._captured is None
        return StoppingRule(self._trial.model, first, gradients=gradients, late=self._late, when=when, drift=drift)

    def _accumulated(self, parts: list[Part], *, gradient: bool) -> torch.Tensor | None:
        total: torch.Tensor | None = None
        for index, part in enumerate(parts):
            if index and gradient:
                name = next(iter(self._pending))
                if index == 1:
                    self._step_for(name).zero_grad()
                self._backward(self._step_for(name), self._pending[name], self._share)
            self._pending.clear()  # frees its graph before the next one is made
            self._pending, self._share = self._losses_of(part), part.share
            while not self._pending:
                self._in_use.skip(part.number)
                self._group = [known for known in self._group if known.number != part.number]
                other = self._in_its_place(part)
                if other is None:
                    return None
                part, self._pending = other, self._losses_of(other)  # noqa: PLW2901 - it takes that one's place
            value = part.share * _wide(self._measured(self._pending))
            total = value if total is None else total.to(value.device) + value
        return total

    def _next_parts(self) -> list[Part]:
        """Return the parts of the next update's batches; none if there are too few batches."""
        taken: list[Any] = []
        while len(taken) < self._training.accumulate:
            self._in_use.batch = None  # running out of memory while a batch is loaded is no reason to split one
            batch = next(self._batches, NO_MORE)
            if batch is NO_MORE:
                return []
            self._in_use.batch = batch
            taken.append(batch)
        each = 1.0 / len(taken)
        first, self._count = self._count, self._count + len(taken)
        return [
            Part(each * share, number, part)
            for number, batch in enumerate(taken, start=first)
            for share, part in (((1.0, batch),) if self._split is None else self._split(batch))
        ]

    def _in_its_place(self, skipped: Part) -> Part | None:
        """Return the next batch in place of one without a loss; None if there is none. Parts of a batch have none."""
        if self._split is not None:
            raise ModelFileError(
                f"the loss of a part of batch {skipped.number} is None, and memory allows no whole one",
                hint="let the data give no such batch, or use a smaller batch (`--batch-size N`)",
            )
        batch = next(self._batches, NO_MORE)
        if batch is NO_MORE:
            return None
        self._in_use.batch = batch
        self._count += 1
        return Part(skipped.share, self._count - 1, batch)

    def _losses_of(self, part: Part) -> dict[str, torch.Tensor]:
        moved = to_device(part.batch, self._device)
        try:
            losses = self._losses(moved)
        except BaseException as error:
            add_location(error, f"computing the loss of batch {part.number}")
            raise
        if self._keeps:
            self._group.append(part._replace(batch=moved))
        return losses

    def _losses(self, batch: Any) -> dict[str, torch.Tensor]:
        """Return the losses of a batch by optimizer; none if the batch is to be skipped."""
        if self._trial.named_losses is not None:
            return self._trial.named_losses(self._trial.model, batch)
        loss = self._trial.loss(self._trial.model, batch)
        return {} if loss is None else {COMMON: loss}

    def _measured(self, losses: dict[str, torch.Tensor]) -> torch.Tensor:
        return losses[COMMON if COMMON in losses else self._trial.name]

    def _again(self, name: str) -> torch.Tensor:
        """Compute the mean loss called `name` of the update's batches again, with its gradient, and return it."""
        step, values = self._step_for(name), []
        step.zero_grad()
        for part in self._group:
            with user_code(f"computing the loss of batch {part.number} again"):
                losses = self._losses(part.batch)
            if name not in losses:
                raise ModelFileError(
                    "training_step returns a mapping of losses for one batch and a single loss for another"
                )
            self._backward(step, losses[name], part.share)
            values.append(part.share * _wide(losses[name]))
        return torch.stack(values).sum()

    def _backward(self, step: OptimizerStep, loss: torch.Tensor, share: float) -> None:
        step.backward(loss if share == 1.0 else share * loss, self._made)

    def _step_for(self, name: str) -> OptimizerStep:
        step = self._steps.get(name)
        if step is None:
            parts = tuple(part for part in self._trial.parts if name in (COMMON, part.name))
            step = self._steps[name] = OptimizerStep(
                parts,
                self._training,
                self._device,
                again=partial(self._again, name),
                in_parts=self._split is not None,
            )
        return step


def _wide(loss: torch.Tensor) -> torch.Tensor:
    """Return `loss` without its graph, at least in float32, so that a sum of many doesn't overflow."""
    return loss.detach().to(torch.promote_types(loss.dtype, torch.float32))
