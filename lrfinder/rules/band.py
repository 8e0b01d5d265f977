"""The trainable band: the rates around the pick at which this model trains, slowly at one end, shakily at the other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lrfinder.fit import INTERVAL, Curve
from lrfinder.records import Band
from lrfinder.rules.descent import fastest_before_lowest, relative_descent
from lrfinder.rules.smoothing import smooth

Array = NDArray[np.float64]

SLOWEST = 0.25  # of the fastest relative descent: below, a run needs over four times the updates
GIVEN_BACK = 0.5  # of the fall: above, one update undoes more than half of what was learned: rules/README.md#band


def trainable_band(curve: Curve) -> Band:
    """Return the band from SLOWEST of the fastest relative descent to GIVEN_BACK of the fall, with its 90 % intervals.

    The lower end is judged by the smoothed loss, as the pick is. The upper one is judged by the fit itself: smoothed
    with the flat part before it, a cliff would look too near. Both are walked to from the pick or the lowest point, so
    a second dip elsewhere doesn't count. If the loss never rises by that much, the upper end is the highest rate tried.
    """
    around, start = smooth(curve), curve.points.start
    low = _low_ends(around.loss[None], around.slope[None], start)
    lows = _low_ends(around.loss_draws, around.slope_draws, start)
    high = _high_ends(curve.loss[None], start)
    highs = _high_ends(curve.loss_draws, start)
    return Band(
        low=float(10 ** curve.x[low[0]]),
        high=float(10 ** curve.x[high[0]]),
        low_interval=_interval(curve.x[lows], curve.x[low[0]]),
        high_interval=_interval(curve.x[highs], curve.x[high[0]]),
    )


def starts_falling(curve: Curve) -> bool:
    """Tell whether the band reaches down to the lowest rate tried: then its lower end was not seen."""
    around = smooth(curve)
    return bool(_low_ends(around.loss[None], around.slope[None], curve.points.start)[0] == 0)


def _low_ends(loss: Array, slope: Array, start: float) -> NDArray[np.int64]:
    """Return, per row (shape B x G), the index from which the descent stays above SLOWEST up to the pick."""
    position = np.arange(loss.shape[1])
    descent = relative_descent(loss, slope, start)
    pick = fastest_before_lowest(descent, loss)[:, None]
    too_slow = (descent < SLOWEST * np.take_along_axis(descent, pick, axis=1)) & (position < pick)
    return np.asarray(np.where(too_slow, position + 1, 0).max(axis=1), dtype=np.int64)


def _high_ends(loss: Array, start: float) -> NDArray[np.int64]:
    """Return, per row (shape B x G), the last index before GIVEN_BACK of the fall is lost again."""
    last = loss.shape[1] - 1
    position = np.arange(loss.shape[1])
    lowest = loss.min(axis=1, keepdims=True)
    beyond = position > loss.argmin(axis=1)[:, None]
    too_fast = (loss > lowest + GIVEN_BACK * (start - lowest)) & beyond
    return np.asarray(np.where(too_fast, position - 1, last).min(axis=1), dtype=np.int64)


def _interval(draws: Array, point: float) -> tuple[float, float]:
    low, high = np.quantile(draws, INTERVAL)
    return float(10 ** min(low, point)), float(10 ** max(high, point))
