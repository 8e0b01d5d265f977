"""Exponential moving averages, each in the variant and the precision of the peers that use it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def ema_from_first(losses: Sequence[float], *, weight: float) -> list[float]:
    """Return s_0 = L_0, s_i = weight * L_i + (1 - weight) * s_{i-1}; the first loss keeps its weight for long."""
    smoothed: list[float] = []
    for loss in losses:
        smoothed.append(weight * loss + (1 - weight) * smoothed[-1] if smoothed else loss)
    return smoothed


def ema_over_count(losses: Sequence[float], *, decay: float, first_count: int) -> list[float]:
    """Return s_i = a_i / (1 - decay ** (i + first_count)), with a_i = decay * a_{i-1} + (1 - decay) * L_i, a_{-1} = 0.

    `first_count` 1 makes the s_i unbiased; 2 gives what the unbiased average would be if a loss of 0 had come first.
    """
    smoothed: list[float] = []
    average = 0.0
    for count, loss in enumerate(losses, start=first_count):
        average = decay * average + (1 - decay) * loss
        smoothed.append(average / (1 - decay**count))
    return smoothed


def ema_unbiased_float32(losses: Sequence[float], *, decay: float) -> NDArray[np.float32]:
    """Return `ema_over_count` with `first_count` 1, in single precision, rounded at the places where torch rounds.

    Rounding decides which of two nearly equal losses counts as lower, so it has to be torch's. `torch.lerp` adds its
    product fused (on processors with AVX2): rounded once, after the sum, for which double precision holds the product
    of two singles exactly. A loss too large for single precision makes the average infinite, then NaN, as in torch.
    """
    weight = np.float64(np.float32(1) - np.float32(decay))
    averages = np.empty(len(losses), dtype=np.float32)
    average = np.float32(0)
    with np.errstate(over="ignore", invalid="ignore"):
        for index, loss in enumerate(as_float32(losses)):
            averages[index] = average = np.float32(np.float64(average) - np.float64(average - loss) * weight)
        counts = range(1, len(losses) + 1)
        return np.asarray(averages / as_float32([1 - decay**count for count in counts]), dtype=np.float32)


def as_float32(values: Sequence[float]) -> NDArray[np.float32]:
    """Return the values in single precision; what is too large for it becomes infinite, as it does in torch."""
    with np.errstate(over="ignore"):
        return np.asarray(values, dtype=np.float32)
