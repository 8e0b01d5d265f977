"""A point on the fitted curve as a Pick, with its bootstrap interval and what that says of its trust."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lrfinder.fit import INTERVAL
from lrfinder.records import Pick, Status

# Decades. On thirteen real tasks the rates that train nearly as well as the best (regret <= 0.02) span 0.75 decade in
# the median: an interval that is not clearly narrower can't tell a rate inside from one outside.
WIDEST_CONFIDENT = 0.5


def pick_at(rule: str, x: float, draws: NDArray[np.float64], why: str, *, advice: bool) -> Pick:
    """Return the pick at log10(rate) `x`; `draws` are the same point on the bootstrap's curves.

    A rule that is there to compare with (no `advice`) is never confident: its point may be sharp, but no one should
    train there because of it.
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
        why=f"{why}; the repeats leave {high - low:.1f} decades open" if wide else why,
    )
