"""Gradients that were looked at while the weights stayed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from lrfinder.records.strict import STRICT

LEAST_GROUPS = 2  # one has no spread


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientNoise:
    """Groups of gradients g_1 ... g_n, each of an update's `batch` samples, at weights that stay.

    `squares` has the mean of |g_i|^2 of each group, `means` has |(g_1 + ... + g_n) / n|^2, with n = `each`. Before them
    a run of `updates` was made at the rate `lr`, from the start that `seed` gives. Raises ValueError for what no
    gradients have.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    lr: float
    updates: int
    seed: int
    batch: int
    each: int
    squares: tuple[float, ...]
    means: tuple[float, ...]

    def __post_init__(self) -> None:
        if not (0 < self.lr < math.inf and self.updates >= 1 and self.seed >= 0 and self.batch >= 1):
            raise ValueError("lr, updates and batch must be above 0, and seed at least 0")
        if self.each <= 1 or len(self.squares) != len(self.means) or len(self.means) < LEAST_GROUPS:
            raise ValueError(f"{LEAST_GROUPS} groups of 2 gradients at least are needed, each with both numbers")
        if not all(0 <= norm < math.inf for norm in (*self.squares, *self.means)):
            raise ValueError("squares and means must be finite numbers from 0")
