"""fastai's `valley`, the rule that `lr_find` uses by default."""

from __future__ import annotations

import bisect

import numpy as np
from numpy.typing import NDArray

from lrfinder.rules.peers.curve import PeerCurve
from lrfinder.rules.peers.fastai_curve import fastai_curve


def suggest(curve: PeerCurve) -> float | None:
    """Return the rate in the middle of the longest fall of fastai's smoothed loss; None where no loss is left.

    See `valley_index` for the formula. Source: fastai 2.8, `callback/schedule.py`, `valley`.
    """
    seen = fastai_curve(curve)
    index = valley_index(seen.losses)
    return None if index is None else seen.lrs[index]


def valley_index(losses: NDArray[np.float32]) -> int | None:
    """Return (end - n) + n // 3 + n // 6, where n is the length of the longest strictly falling subsequence.

    `end` is where such a subsequence first ends. The subsequence may skip losses, yet fastai counts back n places from
    `end` as though it had none skipped: on a curve that falls late in small dents the index can be -1, the last rate.
    """
    if not losses.size:
        return None
    # falls[i]: the length of the longest falling subsequence that ends with losses[i], by patience sorting: lowest[n]
    # is the negated end of the best one of n + 1 losses so far. n log n steps, where fastai compares all pairs.
    falls = np.empty(losses.size, dtype=np.int64)
    lowest: list[float] = []
    for i, loss in enumerate(losses.tolist()):
        place = bisect.bisect_left(lowest, -loss)
        lowest[place : place + 1] = [-loss]
        falls[i] = place + 1
    end = int(np.argmax(falls))
    if end == 0:  # it never falls: fastai takes the first rate
        return 0
    length = int(falls[end])
    return end - length + length // 3 + length // 6
