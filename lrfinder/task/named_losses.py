"""The losses of several optimizers: one loss that all of them minimize, or one for each, by its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from lrfinder.errors import ModelFileError
from lrfinder.task.loss import Loss, checked_loss
from lrfinder.task.problem import COMMON, SweptOptimizer


class NamedLosses:
    """A callable `losses(model, batch)` that returns the loss of each optimizer in `parts`, by the optimizer's name.

    If `training_step` returns a mapping, the losses come from it, in the order in which the optimizers update. If it
    returns a single loss, that loss has the key COMMON, and all optimizers minimize it.
    """

    def __init__(self, loss: Loss, parts: Sequence[SweptOptimizer], where: str) -> None:
        self._loss = loss
        self._names = [part.name for part in parts]
        self._where = where
        self._order: tuple[str, ...] = ()  # of the updates: the order of the first mapping

    def __call__(self, model: nn.Module, batch: Any) -> dict[str, torch.Tensor]:
        """Return the losses of a batch that is on the model's device.

        Raises ModelFileError if the names aren't those of the optimizers, or if a loss can't be minimized.
        """
        output = self._loss.raw(model, batch)
        if output is None:  # the batch is to be skipped
            return {}
        if not isinstance(output, Mapping):
            return {COMMON: checked_loss(output, self._where)}
        if set(output) != set(self._names):
            raise ModelFileError(
                f"{self._where}: training_step returned losses called {', '.join(map(repr, output))}, and the "
                f"optimizers are called {', '.join(map(repr, self._names))}",
                hint="return one loss for every optimizer, under its name, in the order of the updates",
            )
        self._order = self._order or tuple(output)
        return {name: checked_loss(output[name], self._where, f"the loss of {name!r}") for name in self._order}

    def swept(self, model: nn.Module, batch: Any) -> torch.Tensor | None:
        """Return the loss that the swept optimizer minimizes: it is the first of `parts`; None for a skipped batch."""
        losses = self(model, batch)
        return None if not losses else losses[COMMON if COMMON in losses else self._names[0]]
