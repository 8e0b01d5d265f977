"""The peers' stop rule: a sweep ends where its smoothed loss exceeds a multiple of the lowest one so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def length_until_ratio(smoothed: Sequence[float] | NDArray[np.floating[Any]], *, ratio: float) -> int:
    """Return how many losses are recorded: up to and including the first s_i > ratio * min(s_0 ... s_i), or all.

    As in the peers, a negative loss ends the sweep at once: every negative s_i is above `ratio` times itself.
    """
    values = np.asarray(smoothed, dtype=np.float64)
    with np.errstate(over="ignore"):
        above = values > ratio * np.fmin.accumulate(values)
    return int(above.argmax()) + 1 if above.any() else len(values)
