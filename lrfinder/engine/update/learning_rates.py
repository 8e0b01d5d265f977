"""Set the rate of every param group that is swept."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from lrfinder.task.problem import SweptOptimizer


class LearningRates:
    """Sets the rate of each group of `parts` in its ratio to the swept rate; those of a part that holds them stay."""

    def __init__(self, parts: Iterable[SweptOptimizer]) -> None:
        self._groups = [
            pair
            for part in parts
            if part.group_ratios is not None
            for pair in zip(part.optimizer.param_groups, part.group_ratios, strict=True)
        ]

    def set(self, rate: float) -> None:
        """Set the swept rate; a rate that is a tensor stays the same tensor, since compiled updates read it."""
        for group, ratio in self._groups:
            if type(group["lr"]) is float or not isinstance(group["lr"], torch.Tensor):
                group["lr"] = rate * ratio
            else:
                group["lr"].fill_(rate * ratio)
