"""fastai's `minimum`: a tenth of the rate at which the loss is lowest."""

from __future__ import annotations

import numpy as np

from lrfinder.rules.peers.curve import PeerCurve
from lrfinder.rules.peers.fastai_curve import fastai_curve

DIVISOR = 10  # fastai's own


def suggest(curve: PeerCurve) -> float | None:
    """Return lr(argmin s) / 10, with fastai's smoothed loss s; None where no loss is left.

    Source: fastai 2.8, `callback/schedule.py`, `minimum`.
    """
    seen = fastai_curve(curve)
    if not seen.losses.size:
        return None
    return seen.lrs[int(np.argmin(seen.losses))] / DIVISOR
