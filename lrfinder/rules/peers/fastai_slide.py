"""fastai's `slide`, an interval slid down from the high end of the curve."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lrfinder.rules.peers.curve import PeerCurve
from lrfinder.rules.peers.fastai_curve import fastai_curve

INTERVAL = 15  # fastai's lr_diff=15: the width of the interval, in updates
THRESHOLD = 0.005  # fastai's thresh=.005: the difference of slopes (loss per update) at which the slide ends


def suggest(curve: PeerCurve) -> float | None:
    """Return the rate at which the slide over fastai's smoothed loss comes to rest; None under 16 losses.

    See `slide_index` for the formula. Source: fastai 2.8, `callback/schedule.py`, `slide`.
    """
    seen = fastai_curve(curve)
    index = slide_index(seen.losses)
    return None if index is None else seen.lrs[index]


def slide_index(losses: NDArray[np.float32]) -> int | None:
    """Return the left end of the last interval, going down from the right, whose two slopes differ.

    g = central differences of the losses by index; for r = n - 1, n - 2, ... and l = r - 15, the slide goes on while
    |g_r - g_l| > 0.005. Where the first interval already ends it, that interval's left end is returned.
    """
    last_left = losses.size - 1 - INTERVAL
    if last_left < 0:
        return None
    slopes = np.gradient(losses)
    threshold = np.float32(THRESHOLD)  # compared in single precision, as NumPy 2 does for fastai
    index = last_left
    for left in range(last_left, -1, -1):
        if not abs(slopes[left + INTERVAL] - slopes[left]) > threshold:
            break
        index = left
    return index
