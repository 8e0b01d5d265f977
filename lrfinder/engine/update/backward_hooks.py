"""Optimizers that step in hooks of the backward pass, which saves the memory of all gradients but one.

    optimizers = {p: torch.optim.Adam([p], lr=lr) for p in params}
    for p in params:
        p.register_post_accumulate_grad_hook(lambda p: (optimizers[p].step(), optimizers[p].zero_grad()))

See the tutorial "How to save memory by fusing the optimizer step into the backward pass" of PyTorch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from lrfinder.errors import EnvironmentFailure, UsageError
from lrfinder.records import Precision, UpdateOptions
from lrfinder.task.problem import SweptOptimizer


def has_backward_hooks(parameters: Iterable[torch.Tensor]) -> bool:
    """Return whether any parameter has a hook that runs once its gradient is there."""
    return any(getattr(parameter, "_post_accumulate_grad_hooks", None) for parameter in parameters)


class BackwardSteps:
    """Notes, by a hook on each optimizer, which ones have stepped since `forget`."""

    def __init__(self, parts: Sequence[SweptOptimizer], training: UpdateOptions, *, in_parts: bool) -> None:
        """`in_parts`: memory ran out, so batches are computed in parts, each with a backward pass of its own."""
        self._training = training
        self._in_parts = in_parts
        self._made: set[int] = set()
        self._names = {id(part.optimizer): part.name for part in parts}
        for part in parts:
            # The snapshot removes it again, with the other state of a live optimizer.
            part.optimizer.register_step_post_hook(self._note)

    def forget(self) -> None:
        """Forget all steps: a backward pass follows."""
        self._made.clear()

    def made(self, optimizer: torch.optim.Optimizer) -> bool:
        """Return whether `optimizer` has made its step in a hook."""
        return id(optimizer) in self._made

    def check(self) -> None:
        """Raise UsageError if an optimizer has stepped in a hook, and an option needs the gradient before the step.

        Raises EnvironmentFailure if it has stepped with the gradient of a part of the batch.
        """
        if not self._made:
            return
        name = next(name for made, name in self._names.items() if made in self._made)
        if self._in_parts:
            raise EnvironmentFailure(
                f"memory ran out, and batches can't be computed in parts: {name} steps in a hook of the backward pass",
                hint="use a smaller batch (`--batch-size N`) or another device",
            )
        training = self._training
        options = {
            "accumulate": training.accumulate > 1,
            "clip_norm": training.clip_norm is not None,
            "clip_value": training.clip_value is not None,
            "precision fp16": training.precision is Precision.FP16,
        }
        asked = next((option for option, given in options.items() if given), None)
        if asked is not None:
            raise UsageError(
                f"{asked} can't be followed: {name} steps in a hook of the backward pass",
                hint="such an optimizer must do it in its hook; or step after the backward pass",
            )

    def _note(self, optimizer: torch.optim.Optimizer, _args: Any, _kwargs: Any) -> None:
        self._made.add(id(optimizer))
