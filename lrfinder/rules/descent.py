"""Where a loss curve falls fastest: what the `steepest` rules share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Of the whole fall: counts as still to fall at the lowest point, since a short sweep never reaches the lowest loss that
# training can reach: rules/README.md#reserve
RESERVE = 0.02


def relative_descent(loss: Array, slope: Array, start: float) -> Array:
    """Return -(dL/dx) / (L - floor): the fall per decade over what is left to fall, floor = min L - RESERVE * fall.

    In a sweep of equal steps in x = log10(rate) this is, up to a constant, the share of the remaining loss that one
    update removes. A sweep has already learned at the lower rates, so it has less left to gain at the good ones, and
    the steepest point of the raw curve moves to the left. Dividing by what is left undoes part of that.
    Shapes: `loss` and `slope` are (..., G), one row per curve; so is the result.
    """
    lowest = loss.min(axis=-1, keepdims=True)
    # A curve that never comes below its start has no fall; its pick is refused by `refuse_curve`.
    fall = np.where(start > lowest, start - lowest, np.ptp(loss, axis=-1, keepdims=True))
    double = np.finfo(np.float64)
    rounding = max(double.eps * max(abs(start), float(np.ptp(loss))), double.tiny)  # relative: a loss has any unit
    return np.asarray(-slope / np.maximum(loss - lowest + RESERVE * fall, rounding), dtype=np.float64)


def fastest_before_lowest(descent: Array, loss: Array) -> NDArray[np.int64]:
    """Return the index, per row, at which `descent` is largest among the rates up to the lowest loss."""
    position = np.arange(loss.shape[-1])
    before = position <= loss.argmin(axis=-1)[..., None]
    return np.asarray(np.where(before, descent, -np.inf).argmax(axis=-1), dtype=np.int64)
