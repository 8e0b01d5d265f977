"""The part of its curve that fastai's `lr_find` hands to its rules: smoothed, stopped and trimmed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lrfinder.rules.peers.curve import CACHED, PeerCurve
from lrfinder.rules.peers.ema import ema_unbiased_float32
from lrfinder.rules.peers.stop_ratio import length_until_ratio

DECAY = 0.98  # fastai's Recorder(beta=0.98)
STOP_RATIO = 4  # fastai's LRFinder stops where the smoothed loss exceeds four times its best
SKIP_START_FRACTION = 10  # lr_find drops the first num_it // 10 losses ...
SKIP_END = 5  # ... and the last five


@dataclass(frozen=True, slots=True, kw_only=True)
class FastaiCurve:
    """Rates as they were given, and their smoothed losses in single precision."""

    lrs: tuple[float, ...]
    losses: NDArray[np.float32]


@lru_cache(maxsize=CACHED)  # four rules ask for the same
def fastai_curve(curve: PeerCurve) -> FastaiCurve:
    """Return the smoothed losses from number steps // 10 to the sixth from the end of fastai's own sweep.

    Smoothed: a_i = 0.98 a_{i-1} + 0.02 L_i, s_i = a_i / (1 - 0.98^(i+1)), in single precision. The sweep ends where
    s_i exceeds four times the lowest s so far. Source: fastai 2.8, `Learner.lr_find`, `LRFinder`, `AvgSmoothLoss`.
    """
    smoothed = ema_unbiased_float32(curve.losses, decay=DECAY)
    length = length_until_ratio(smoothed, ratio=STOP_RATIO)
    not_a_number = np.flatnonzero(np.isnan(smoothed))  # lr_find drops these and what follows, after trimming
    end = min([max(length - SKIP_END, 0), *not_a_number[:1].tolist()])
    kept = slice(curve.steps // SKIP_START_FRACTION, end)
    return FastaiCurve(lrs=curve.lrs[kept], losses=smoothed[kept])
