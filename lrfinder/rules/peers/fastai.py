"""fastai's four suggestions, `valley` (its default), `slide`, `minimum` and `steep`, on the curve that it gives them.

Source: fastai 2.8, `callback/schedule.py` (`Learner.lr_find`, `LRFinder`, `valley`, `slide`, `minimum`, `steep`) and
`learner.py` (`AvgSmoothLoss`).
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lrfinder.rules.peers.curve import CACHED, PeerCurve
from lrfinder.rules.peers.ema import as_float32, ema_unbiased_float32
from lrfinder.rules.peers.stop_ratio import length_until_ratio

# All of these are fastai's own.
DECAY = 0.98  # Recorder(beta=0.98)
STOP_RATIO = 4  # LRFinder stops if the smoothed loss exceeds four times its best
SKIP_START_FRACTION = 10  # lr_find drops the first num_it // 10 losses ...
SKIP_END = 5  # ... and the last five
SLIDE_INTERVAL = 15  # slide(lr_diff=15): the width of the interval, in updates
SLIDE_THRESHOLD = 0.005  # slide(thresh=.005): the difference of slopes (loss per update) at which the slide ends
MINIMUM_DIVISOR = 10  # minimum() returns a tenth of the rate with the lowest loss


@dataclass(frozen=True, slots=True, kw_only=True)
class FastaiCurve:
    """Rates as they were given, and their smoothed losses in single precision."""

    lrs: tuple[float, ...]
    losses: NDArray[np.float32]


@lru_cache(maxsize=CACHED)  # four rules ask for the same
def fastai_curve(curve: PeerCurve) -> FastaiCurve:
    """Return the smoothed losses from number steps // 10 to the sixth from the end of fastai's own sweep.

    Smoothed: a_i = 0.98 a_{i-1} + 0.02 L_i, s_i = a_i / (1 - 0.98^(i+1)), in single precision. The sweep ends where
    s_i exceeds four times the lowest s so far.
    """
    smoothed = ema_unbiased_float32(curve.losses, decay=DECAY)
    length = length_until_ratio(smoothed, ratio=STOP_RATIO)
    not_a_number = np.flatnonzero(np.isnan(smoothed))  # lr_find drops these and what follows, after trimming
    end = min([max(length - SKIP_END, 0), *not_a_number[:1].tolist()])
    kept = slice(curve.steps // SKIP_START_FRACTION, end)
    return FastaiCurve(lrs=curve.lrs[kept], losses=smoothed[kept])


def valley(curve: PeerCurve) -> float | None:
    """Return the rate in the middle of the longest fall of the smoothed loss; None if no loss is left.

    See `valley_index` for the formula.
    """
    trimmed = fastai_curve(curve)
    index = valley_index(trimmed.losses)
    return None if index is None else trimmed.lrs[index]


def slide(curve: PeerCurve) -> float | None:
    """Return the rate at which an interval, slid down from the high end, comes to rest; None under 16 losses.

    See `slide_index` for the formula.
    """
    trimmed = fastai_curve(curve)
    index = slide_index(trimmed.losses)
    return None if index is None else trimmed.lrs[index]


def minimum(curve: PeerCurve) -> float | None:
    """Return lr(argmin s) / 10, with the smoothed loss s; None if no loss is left."""
    trimmed = fastai_curve(curve)
    if not trimmed.losses.size:
        return None
    return trimmed.lrs[int(np.argmin(trimmed.losses))] / MINIMUM_DIVISOR


def steep(curve: PeerCurve) -> float | None:
    """Return the rate at which the loss falls fastest against the logarithm of the rate (`steep_index`).

    None under two losses.
    """
    trimmed = fastai_curve(curve)
    index = steep_index(trimmed.lrs, trimmed.losses)
    return None if index is None else trimmed.lrs[index]


def valley_index(losses: NDArray[np.float32]) -> int | None:
    """Return (end - n) + n // 3 + n // 6, where n is the length of the longest strictly falling subsequence.

    `end` is where such a subsequence first ends. The subsequence may skip losses, yet fastai counts back n places from
    `end` as if it had skipped none: on a curve that falls late in small dents the index can be -1, the last rate.
    """
    if not losses.size:
        return None
    # falls[i]: the length of the longest falling subsequence that ends with losses[i], by patience sorting: lowest[n]
    # is the negated end of the best one of n + 1 losses so far. n log n steps; fastai compares all pairs.
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


def slide_index(losses: NDArray[np.float32]) -> int | None:
    """Return the left end of the last interval, going down from the right, whose two slopes differ.

    g = central differences of the losses by index; for r = n - 1, n - 2, ... and l = r - 15, the slide goes on while
    |g_r - g_l| > 0.005. If the first interval already ends it, that interval's left end is returned.
    """
    last_left = losses.size - 1 - SLIDE_INTERVAL
    if last_left < 0:
        return None
    slopes = np.gradient(losses)
    threshold = np.float32(SLIDE_THRESHOLD)  # compared in single precision, as NumPy 2 does for fastai
    index = last_left
    for left in range(last_left, -1, -1):
        if not abs(slopes[left + SLIDE_INTERVAL] - slopes[left]) > threshold:
            break
        index = left
    return index


def steep_index(lrs: Sequence[float], losses: NDArray[np.float32]) -> int | None:
    """Return argmin over i of (s_{i+1} - s_i) / (ln lr_{i+1} - ln lr_i), the left one of the two points.

    In single precision, as in fastai; ln is computed in double precision and then rounded, which agrees with torch
    to the last bit except in rare cases.
    """
    if losses.size < 2:  # noqa: PLR2004 - a slope needs two points
        return None
    log_lrs = np.log(as_float32(lrs).astype(np.float64)).astype(np.float32)
    with np.errstate(all="ignore"):  # rates that are equal in single precision, slopes beyond it: as torch, no error
        slopes = np.diff(losses) / np.diff(log_lrs)
    return int(np.argmin(slopes))
