"""Updates from batches: the loss of the next ones, then a step by its gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple, Protocol

import torch

from lrfinder.engine.losses.log import StoppingRule, When
from lrfinder.engine.update.fast_path import BatchInUse, FastPath, LearningRates
from lrfinder.engine.update.optimizer_step import OptimizerStep
from lrfinder.errors import ModelFileError, add_location, user_code
from lrfinder.records import Stop, UpdateOptions
from lrfinder.task.batches import to_device
from lrfinder.task.problem import COMMON, BuiltProblem

# Updates in a row that the loss scaler may skip. It begins at 2^16 and halves: after sixteen it scales nothing up any
# more, and four further leave room for gradients of a million. Whatever overflows then has diverged.
MOST_SKIPS = 20

_NO_BATCH = object()


class _Part(NamedTuple):
    """A batch or a part of one, its share in the loss of the update, and the number of the batch."""

    share: float
    number: int
    batch: Any


class CapturedUpdate(Protocol):
    """An update that was captured once and is replayed for each batch like the first: see `engine/extensions.py`."""

    def takes(self, batch: Any) -> bool:
        """Return whether the update on `batch` can be replayed; else it is made without."""

    def loss(self, batch: Any) -> torch.Tensor:
        """Return the loss of `batch`, and leave its gradient behind for `step`; it isn't waited for."""

    def step(self) -> None:
        """Make the optimizer's step by the gradient that is there, at the rates that are there."""


class Updater:
    """Makes the updates of a trial: `next_loss`, then `make`, in turn.

    The loss is that of the batches which the next update is made from, before that update: one forward pass serves
    both. An update takes `training.accumulate` batches, each in the parts that `split` makes of it, with their shares.
    The gradient of all parts but the last is there when `next_loss` returns, so that only one graph is kept; that of
    the last one comes in `make`, under the rate of the update.
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
        self.fast_path: FastPath | None = None  # makes the updates after the first one, if that is enough
        self._replays = False  # whether the update to be made is replayed
        self._rates = LearningRates(trial.parts)
        self._turns: dict[str, OptimizerStep] = {}
        self._group: list[_Part] = []  # those of the update to be made, where it may ask for their loss again
        self._keeps = True  # whether it may: before the first step nobody knows
        self._pending: dict[str, torch.Tensor] = {}  # the losses of the last of them, by optimizer
        self._share = 1.0  # of the last of them in the update's loss
        self._count = 0  # batches
        self._made = 0
        self._skips = 0  # in a row

    def stuck(self, rate: float) -> tuple[Stop, str] | None:
        """Return how this ends where the loss scaler skipped so many updates in a row, at `rate`, that none will do."""
        if self._skips < MOST_SKIPS:
            return None
        return Stop.NON_FINITE, (
            f"the gradient overflowed in {self._skips} updates in a row at rate {rate:.3g}, however far the loss was "
            "scaled down"
        )

    def next_loss(self, *, gradient: bool = True) -> torch.Tensor | None:
        """Return the mean loss of the next update's batches, or None where they have run out; it isn't waited for.

        Without `gradient` no update can follow. Raises what the user's code raises.
        """
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
        return self._measured(self._pending).detach()

    def make(self, rate: float) -> bool:
        """Make an update at `rate`; return False where the loss scaler skipped it, since the gradient overflowed.

        Optimizers with losses of their own step one after the other: the first on the loss that is there, each
        further one on its loss at the weights that the ones before it have left.
        """
        self._rates.set(rate)
        if self._captured is not None and self._replays:
            self._captured.step()
            self._made += 1
            return True
        whole = self._share == 1.0
        name, *others = self._pending
        first = self._pending[name]
        self._pending.clear()  # with it go the graphs of the other losses
        turn = self._turn(name)
        if whole:
            turn.zero_grad()
        turn.backward(first if whole else self._share * first, self._made)
        applied = self._step(turn, first if whole else None)
        self._keeps = turn.evaluates_again or bool(others)
        for other in others:
            applied &= self._step(self._turn(other), self._again(other))
        self._made += applied
        self._skips = 0 if applied else self._skips + 1
        if turn.is_plain and self._is_plain():
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

    def _step(self, turn: OptimizerStep, loss: torch.Tensor | None) -> bool:
        """Return whether what the step of `turn` was to do to the swept rate's part was done."""
        stepped = turn.step(loss, self._made)
        if self._late:
            turn.zero_grad()  # the next loss may have their memory
        return stepped or not turn.is_swept

    def stopping_rule(self, first: float, when: When) -> StoppingRule:
        """Return what judges the losses that follow updates, `first` being the one before any."""
        # With several parts, or in a replay, the gradients of the coming update are there already when the loss is.
        gradients = self._share == 1.0 and self._captured is None
        return StoppingRule(self._trial.model, first, gradients=gradients, late=self._late, when=when)

    def _accumulated(self, parts: list[_Part], *, gradient: bool) -> torch.Tensor | None:
        total: torch.Tensor | None = None
        for index, part in enumerate(parts):
            if index and gradient:
                name = next(iter(self._pending))
                if index == 1:
                    self._turn(name).zero_grad()
                self._backward(self._turn(name), self._pending[name], self._share)
            self._pending.clear()  # its graph, before the next one is made
            self._pending, self._share = self._losses_of(part), part.share
            value = part.share * _wide(self._measured(self._pending))
            total = value if total is None else total.to(value.device) + value
        return total

    def _next_parts(self) -> list[_Part]:
        """Return the parts of the next update's batches; none where there are fewer than it takes."""
        taken: list[Any] = []
        while len(taken) < self._training.accumulate:
            self._in_use.batch = None  # what runs out of memory while a batch is loaded needs no smaller batch
            batch = next(self._batches, _NO_BATCH)
            if batch is _NO_BATCH:
                return []
            self._in_use.batch = batch
            taken.append(batch)
        each = 1.0 / len(taken)
        first, self._count = self._count, self._count + len(taken)
        return [
            _Part(each * share, number, part)
            for number, batch in enumerate(taken, start=first)
            for share, part in (((1.0, batch),) if self._split is None else self._split(batch))
        ]

    def _losses_of(self, part: _Part) -> dict[str, torch.Tensor]:
        moved = to_device(part.batch, self._device)
        try:
            losses = self._losses(moved)
        except Exception as error:
            add_location(error, f"computing the loss of batch {part.number}")
            raise
        if self._keeps:
            self._group.append(part._replace(batch=moved))
        return losses

    def _losses(self, batch: Any) -> dict[str, torch.Tensor]:
        if self._trial.named_losses is not None:
            return self._trial.named_losses(self._trial.model, batch)
        return {COMMON: self._trial.loss(self._trial.model, batch)}

    def _measured(self, losses: dict[str, torch.Tensor]) -> torch.Tensor:
        return losses[COMMON if COMMON in losses else self._trial.name]

    def _again(self, name: str) -> torch.Tensor:
        """Return the mean loss called `name` of the update's batches once more, its gradient in the parameters."""
        turn, values = self._turn(name), []
        turn.zero_grad()
        for part in self._group:
            with user_code(f"computing the loss of batch {part.number} again"):
                losses = self._losses(part.batch)
            if name not in losses:
                raise ModelFileError(
                    "training_step returns a mapping of losses for one batch and a single loss for another"
                )
            self._backward(turn, losses[name], part.share)
            values.append(part.share * _wide(losses[name]))
        return torch.stack(values).sum()

    def _backward(self, turn: OptimizerStep, loss: torch.Tensor, share: float) -> None:
        turn.backward(loss if share == 1.0 else share * loss, self._made)

    def _turn(self, name: str) -> OptimizerStep:
        turn = self._turns.get(name)
        if turn is None:
            parts = tuple(part for part in self._trial.parts if name in (COMMON, part.name))
            turn = self._turns[name] = OptimizerStep(
                parts, self._training, self._device, again=partial(self._again, name)
            )
        return turn


def _wide(loss: torch.Tensor) -> torch.Tensor:
    """Return the value of `loss` in numbers that a sum of many fits into."""
    return loss.detach().to(torch.promote_types(loss.dtype, torch.float32))
