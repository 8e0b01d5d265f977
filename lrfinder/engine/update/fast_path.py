"""Updates that need only a batch, a loss, a gradient and a step, in fewer calls. Most updates are such."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch

from lrfinder.errors import ModelFileError, add_location
from lrfinder.task.batches import to_device
from lrfinder.task.problem import BuiltProblem, SweptOptimizer

SAME_LR = 0.01  # relative: a rate in bfloat16 is as near
FIRST_EMPTY, MOST_EMPTY = 20, 1000  # batches in a row whose loss is None: before any with a loss, and later


class BatchInUse:
    """Holds the batch that is trained on: if memory runs out, it is to be split. `empty`: so many had no loss."""

    def __init__(self) -> None:
        self.batch: Any = None
        self.empty = 0
        self._in_a_row, self._last = 0, -1

    def skip(self, number: int) -> None:
        """Count the batch with this number as skipped: its loss is None. Raises ModelFileError if too many are."""
        self._in_a_row = self._in_a_row + 1 if number == self._last + 1 else 1
        self.empty, self._last = self.empty + 1, number
        if self._in_a_row == (FIRST_EMPTY if self._in_a_row == number + 1 else MOST_EMPTY):
            raise ModelFileError(
                f"the loss is None for {self._in_a_row} batches in a row, up to batch {number}",
                hint="did you forget to return it? None skips a batch",
            )


class LearningRates:
    """Sets the rate of each group of `parts` in its ratio to the swept rate, except of parts that keep their rates."""

    def __init__(self, parts: Iterable[SweptOptimizer]) -> None:
        self.groups = [
            pair
            for part in parts
            if part.group_ratios is not None
            for pair in zip(part.optimizer.param_groups, part.group_ratios, strict=True)
        ]

    def set(self, rate: float) -> None:
        """Set the swept rate. A rate that is a tensor stays the same tensor, since compiled updates read it."""
        for group, ratio in self.groups:
            set_lr(group, rate * ratio)

    def check(self, rate: float) -> None:
        """Raise ModelFileError if an update at `rate` has changed it: then the optimizer sets its rates itself."""
        for number, (group, ratio) in enumerate(self.groups):
            now = float(group["lr"])
            if abs(now - rate * ratio) > SAME_LR * rate * ratio:
                raise ModelFileError(
                    f"the optimizer sets its rates itself: param group {number} has {now:.3g} after an update at rate "
                    f"{rate * ratio:.3g}",
                    hint="turn its own warm-up or schedule off, so that its rate is the one it is given",
                )


def set_lr(group: dict[str, Any], lr: float) -> None:
    """Set the rate of a param group; if it is a tensor, in place."""
    if isinstance(group["lr"], torch.Tensor):
        group["lr"].fill_(lr)
    else:
        group["lr"] = lr


def zero_grad(optimizer: torch.optim.Optimizer) -> None:
    """Do what `optimizer.zero_grad(set_to_none=True)` does.

    torch's own opens a range for its profiler, which takes five times as long as the rest. If an optimizer has a
    `zero_grad` of its own, that is called.
    """
    if type(optimizer).zero_grad is not torch.optim.Optimizer.zero_grad or "zero_grad" in vars(optimizer):
        optimizer.zero_grad(set_to_none=True)
        return
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = None


class FastPath:
    """Does what `Updater` does after its first update, if each is one whole batch and one optimizer's `step()`.

    The numbers are the same, bit for bit. torch takes 200 us for a small net's update, and each of our calls takes 0.2
    to 0.5 us. `Updater` makes two dozen calls more than this.
    """

    fast_path: None = None  # this is it

    def __init__(
        self,
        trial: BuiltProblem,
        batches: Iterator[Any],
        device: torch.device,
        rates: LearningRates,
        *,
        count: int,
        late: bool,
        in_use: BatchInUse,
    ) -> None:
        """`count` updates, of one batch each, came before. `late`: losses are read when gradients are gone."""
        self._model = trial.model
        self._loss = trial.loss
        self._optimizer = trial.parts[0].optimizer
        self._name = trial.parts[0].name
        self._batches = batches
        self._device = device
        self._groups = rates.groups
        self._late = late
        self._in_use = in_use
        self._made = self._count = count
        self._pending: torch.Tensor | None = None

    def next_loss(self, *, gradient: bool = True) -> torch.Tensor | None:
        """Return the loss of the next batch, without waiting for it; None if there is no batch.

        If losses aren't read late, it still has its autograd graph.
        """
        del gradient  # `make` computes it
        self._in_use.batch = None  # running out of memory while a batch is loaded is no reason to split one
        for batch in self._batches:
            self._in_use.batch = batch
            moved = to_device(batch, self._device)
            try:
                loss = self._pending = self._loss(self._model, moved)
            except BaseException as error:
                add_location(error, f"computing the loss of batch {self._count}")
                raise
            self._count += 1
            if loss is None:
                self._in_use.skip(self._count - 1)
                continue
            return loss.detach() if self._late else loss
        return None

    def make(self, rate: float) -> bool:
        """Make an update at `rate` with the gradient of the last loss of `next_loss`; return True."""
        for group, ratio in self._groups:
            if type(group["lr"]) is float:
                group["lr"] = rate * ratio
            else:
                set_lr(group, rate * ratio)
        loss, self._pending = self._pending, None
        assert loss is not None  # noqa: S101 - next_loss came before
        optimizer = self._optimizer
        zero_grad(optimizer)
        try:
            loss.backward()  # type: ignore[no-untyped-call]
        except BaseException as error:
            add_location(error, f"running loss.backward() before update {self._made}")
            raise
        try:
            optimizer.step()
        except BaseException as error:
            add_location(error, f"calling {self._name}.step() for update {self._made}")
            raise
        if self._late:
            zero_grad(optimizer)  # frees memory for the next loss
        self._made += 1
        return True
