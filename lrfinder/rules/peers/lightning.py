"""Lightning's suggestion: where its smoothed loss falls fastest against the rate itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lrfinder.rules.peers.curve import PeerCurve
from lrfinder.rules.peers.ema import as_float32, ema_over_count

DECAY = 0.98  # _LRCallback(beta=0.98)
STOP_RATIO = 4.0  # lr_find(early_stop_threshold=4.0)
SKIP_START, SKIP_END = 10, 1  # suggestion(skip_begin=10, skip_end=1)


def suggest(curve: PeerCurve) -> float | None:
    """Return lr at the argmin of ds/d lr, by central differences for uneven spacing; None under 13 recorded losses.

    s_i = a_i / (1 - 0.98^(i+2)), a_i = 0.98 a_{i-1} + 0.02 L_i: Lightning counts one update too many, so the first s
    is about half of the first loss. Recorded until s_i exceeds four times the lowest s before it; of these, the first
    ten and the last are left out. Source: Lightning 2.6, `tuner/lr_finder.py`, `_LRCallback` and `_LRFinder`.
    """
    smoothed = ema_over_count(curve.losses, decay=DECAY, first_count=2)
    kept = slice(SKIP_START, max(_recorded(smoothed) - SKIP_END, 0))
    losses, lrs = as_float32(smoothed[kept]), as_float32(curve.lrs[kept])  # Lightning takes its slopes in torch.float32
    usable = np.flatnonzero(np.isfinite(losses))
    if usable.size < 2:  # noqa: PLR2004 - a slope needs two points
        return None
    # Rates that are equal, or slopes too steep, in single precision: as in torch, no error.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        slopes = np.gradient(losses[usable], lrs[usable])
    return curve.lrs[SKIP_START + int(usable[np.argmin(slopes)])]


def _recorded(smoothed: Sequence[float]) -> int:
    """Return how many losses are recorded: each is held to the lowest before it, so the first never ends the sweep."""
    best = float("inf")
    for index, loss in enumerate(smoothed):
        if loss > STOP_RATIO * best:
            return index + 1
        best = min(best, loss)
    return len(smoothed)
