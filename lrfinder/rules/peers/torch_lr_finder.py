"""torch-lr-finder's suggestion: where its smoothed loss falls most from one update to the next."""

from __future__ import annotations

import numpy as np

from lrfinder.rules.peers.curve import PeerCurve
from lrfinder.rules.peers.ema import ema_from_first
from lrfinder.rules.peers.stop_ratio import length_until_ratio

WEIGHT = 0.05  # range_test(smooth_f=0.05)
STOP_RATIO = 5  # range_test(diverge_th=5)
SKIP_START, SKIP_END = 10, 5  # plot(skip_start=10, skip_end=5)


def suggest(curve: PeerCurve) -> float | None:
    """Return lr at the argmin of the central difference of s by index; None under 17 recorded losses.

    s_0 = L_0, s_i = 0.05 L_i + 0.95 s_{i-1}; recorded until s_i exceeds five times the lowest s so far; of these,
    the first ten and the last five are left out. All in double precision.
    Source: torch-lr-finder 0.2.2, `LRFinder.range_test` and `LRFinder.plot`.
    """
    smoothed = ema_from_first(curve.losses, weight=WEIGHT)
    length = length_until_ratio(smoothed, ratio=STOP_RATIO)
    if length < SKIP_START + SKIP_END + 2:
        return None
    slopes = np.gradient(np.asarray(smoothed[SKIP_START : length - SKIP_END]))
    return curve.lrs[SKIP_START + int(np.argmin(slopes))]
