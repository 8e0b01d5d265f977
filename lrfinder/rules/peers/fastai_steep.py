"""fastai's `steep`: the rate at which the loss falls fastest against the logarithm of the rate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lrfinder.rules.peers.curve import PeerCurve
from lrfinder.rules.peers.ema import as_float32
from lrfinder.rules.peers.fastai_curve import fastai_curve


def suggest(curve: PeerCurve) -> float | None:
    """Return the rate of `steep_index` on fastai's smoothed loss; None under two losses.

    Source: fastai 2.8, `callback/schedule.py`, `steep`.
    """
    seen = fastai_curve(curve)
    index = steep_index(seen.lrs, seen.losses)
    return None if index is None else seen.lrs[index]


def steep_index(lrs: Sequence[float], losses: NDArray[np.float32]) -> int | None:
    """Return argmin over i of (s_{i+1} - s_i) / (ln lr_{i+1} - ln lr_i), the left one of the two points.

    In single precision, as in fastai; ln is computed in double precision and then rounded, which agrees with torch
    to the last bit but for rare cases.
    """
    if losses.size < 2:  # noqa: PLR2004 - a slope needs two points
        return None
    log_lrs = np.log(as_float32(lrs).astype(np.float64)).astype(np.float32)
    with np.errstate(all="ignore"):  # rates that are equal in single precision, slopes beyond it: as torch, no error
        slopes = np.diff(losses) / np.diff(log_lrs)
    return int(np.argmin(slopes))
