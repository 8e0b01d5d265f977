"""Updates from batches: the loss of the next ones, then a step by its gradient."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from lrfinder.engine.rates import Rates
from lrfinder.engine.turn import Turn
from lrfinder.errors import ModelFileError, user_code
from lrfinder.records import Stop, Training
from lrfinder.task.batches import to_device
from lrfinder.task.problem import COMMON, Trial

# Updates in a row that the loss scaler may skip. It begins at 2^16 and halves: after sixteen it scales nothing up any
# more, and four further leave room for gradients of a million. Whatever overflows then has diverged.
MOST_SKIPS = 20


class Updates:
    """Makes the updates of a trial: `next_loss`, then `make`, in turn.

    The loss is that of the batches which the next update is made from, before that update: one forward pass serves
    both. An update takes `training.accumulate` batches. The gradient of all but the last is there when `next_loss`
    returns, so that only one graph is kept; that of the last one comes in `make`, under the rate of the update.
    """

    def __init__(self, trial: Trial, training: Training, batches: Iterator[Any], device: torch.device) -> None:
        self._trial = trial
        self._training = training
        self._batches = batches
        self._device = device
        self._rates = Rates(trial.parts)
        self._turns: dict[str, Turn] = {}
        self._group: list[Any] = []  # the batches of the update to be made, where it may ask for their loss again
        self._keeps = True  # whether it may: before the first step nobody knows
        self._pending: dict[str, torch.Tensor] = {}  # the losses of the last of them, by optimizer
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

    def next_loss(self, *, gradient: bool = True) -> float | None:
        """Return the mean loss of the next update's batches, or None where they have run out.

        Without `gradient` no update can follow. Raises what the user's code raises.
        """
        self._group.clear()
        losses = self._next_losses()
        if losses is None:
            return None
        if self._training.accumulate == 1:
            self._pending = losses
            return self._measured(losses).item()
        return self._accumulated(losses, gradient=gradient)

    def make(self, rate: float) -> bool:
        """Make an update at `rate`; return False where the loss scaler skipped it, since the gradient overflowed.

        Optimizers with losses of their own step one after the other: the first on the loss that is there, each
        further one on its loss at the weights that the ones before it have left.
        """
        self._rates.set(rate)
        names = tuple(self._pending)
        first = self._pending[names[0]]
        self._pending.clear()  # with it go the graphs of the other losses
        applied = True
        for name in names:
            turn = self._turn(name)
            if name == names[0]:
                loss = first
                if self._training.accumulate == 1:
                    turn.zero()
                self._backward(turn, loss)
            else:
                loss = self._again(name)
            stepped = turn.step(loss, self._made)
            if turn.is_swept:
                applied = applied and stepped
            self._keeps = turn.evaluates_again or len(names) > 1
        self._made += applied
        self._skips = 0 if applied else self._skips + 1
        return applied

    def _accumulated(self, losses: dict[str, torch.Tensor], *, gradient: bool) -> float | None:
        total = _wide(self._measured(losses))
        for index in range(1, self._training.accumulate):
            if gradient:
                name = next(iter(losses))
                if index == 1:
                    self._turn(name).zero()
                self._backward(self._turn(name), losses[name])
            following = self._next_losses()
            if following is None:
                return None
            losses = following
            total += _wide(self._measured(losses))  # on the device: one look at it an update
        self._pending = losses
        return total.item() / self._training.accumulate

    def _next_losses(self) -> dict[str, torch.Tensor] | None:
        for batch in self._batches:
            moved = to_device(batch, self._device)
            with user_code(f"computing the loss of batch {self._count}"):
                losses = self._losses(moved)
            self._count += 1
            if self._keeps:
                self._group.append(moved)
            return losses
        return None

    def _losses(self, batch: Any) -> dict[str, torch.Tensor]:
        if self._trial.named_losses is not None:
            return self._trial.named_losses(self._trial.model, batch)
        return {COMMON: self._trial.loss(self._trial.model, batch)}

    def _measured(self, losses: dict[str, torch.Tensor]) -> torch.Tensor:
        return losses[COMMON if COMMON in losses else self._trial.name]

    def _again(self, name: str) -> torch.Tensor:
        """Return the mean loss called `name` of the update's batches once more, its gradient in the parameters."""
        turn, values = self._turn(name), []
        turn.zero()
        for batch in self._group:
            with user_code(f"computing the loss of batch {self._count - 1} again"):
                losses = self._losses(batch)
            if name not in losses:
                raise ModelFileError(
                    "training_step returns a mapping of losses for one batch and a single loss for another"
                )
            self._backward(turn, losses[name])
            values.append(_wide(losses[name]))
        return torch.stack(values).mean()

    def _backward(self, turn: Turn, loss: torch.Tensor) -> None:
        share = loss if self._training.accumulate == 1 else loss / self._training.accumulate
        turn.backward(share, self._made)

    def _turn(self, name: str) -> Turn:
        turn = self._turns.get(name)
        if turn is None:
            parts = tuple(part for part in self._trial.parts if name in (COMMON, part.name))
            turn = self._turns[name] = Turn(parts, self._training, self._device, again=partial(self._again, name))
        return turn


def _wide(loss: torch.Tensor) -> torch.Tensor:
    """Return the value of `loss` in numbers that a sum of many fits into."""
    return loss.detach().to(torch.promote_types(loss.dtype, torch.float32))
