"""A point on the fitted curve as a Pick, with its bootstrap interval and the status that follows from it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lrfinder.fit import INTERVAL
from lrfinder.records import Pick, Status

WIDEST_CONFIDENT = 0.5  # decades; a wider interval is uncertain: rules/README.md#widest_confident


def pick_at(rule: str, x: float, draws: NDArray[np.float64], why: str, *, advice: bool) -> Pick:
    """Return the pick at log10(rate) `x`; `draws` are the same point on the bootstrap's curves.

    A rule that is there for comparison (no `advice`) is never confident: its point may be sharp, but it is not a rate
    to train with.
    """
    low, high = np.quantile(draws, INTERVAL)
    low, high = min(float(low), float(x)), max(float(high), float(x))
    wide = high - low > WIDEST_CONFIDENT
    return Pick(
        rule=rule,
        lr=float(10**x),
        low=float(10**low),
        high=float(10**high),
        status=Status.CONFIDENT if advice and not wide else Status.UNCERTAIN,
        why=f"{why}; the repeats differ by a factor of {10 ** (high - low):.0f}" if wide else why,
    )
