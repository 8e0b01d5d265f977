"""The loss averaged over the rates around each rate: what a peak rate is judged by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrfinder.fit import Curve

Array = NDArray[np.float64]

# Decades (a factor of 2.5), standard deviation. A schedule passes through the rates below its peak, so a pick must be
# good together with its neighbours, and keep its distance from a cliff: rules/README.md#width
WIDTH = 0.4


@dataclass(frozen=True, slots=True, eq=False)
class SmoothedLoss:
    """The smoothed loss and its slope on the curve's grid, and the same of its bootstrap draws (B x G)."""

    loss: Array
    slope: Array
    loss_draws: Array
    slope_draws: Array


def smooth(curve: Curve) -> SmoothedLoss:
    """Return the fitted loss averaged over log10(rate) with a normal density of standard deviation WIDTH.

    a(x) = sum_g L(g) w(g - x) / sum_g w(g - x),   w(d) = exp(-(d / WIDTH)^2 / 2),   g over the grid
    da/dx by central differences. Near the ends of the grid the average is over the part that was measured.
    """
    distance = (curve.x[None, :] - curve.x[:, None]) / WIDTH
    weights = np.exp(-0.5 * distance**2)
    weights /= weights.sum(axis=1, keepdims=True)
    slopes = np.gradient(weights, curve.x, axis=0)
    return SmoothedLoss(
        loss=weights @ curve.loss,
        slope=slopes @ curve.loss,
        loss_draws=curve.loss_draws @ weights.T,
        slope_draws=curve.loss_draws @ slopes.T,
    )
