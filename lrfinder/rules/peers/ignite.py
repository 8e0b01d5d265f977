"""ignite's suggestion: where its smoothed loss falls most, among the updates up to the lowest loss."""

from __future__ import annotations

import numpy as np

from lrfinder.rules.peers.curve import PeerCurve
from lrfinder.rules.peers.ema import as_float32, ema_from_first
from lrfinder.rules.peers.stop_ratio import length_until_ratio

WEIGHT = 0.05  # attach(smooth_f=0.05)
STOP_RATIO = 5.0  # attach(diverge_th=5.0)
MIN_FALLING = 3  # lr_suggestion() raises if fewer losses lead down to the lowest


def suggest(curve: PeerCurve) -> float | None:
    """Return lr at the argmin of (s_{i+1} - s_{i-1}) / 2 over 0 < i < argmin s; None if argmin s < 2.

    s_0 = L_0, s_i = 0.05 L_i + 0.95 s_{i-1}, recorded until s_i exceeds five times the lowest s so far. The slopes are
    taken in single precision. Source: pytorch-ignite 0.5.5, `FastaiLRFinder._log_lr_and_loss`, `lr_suggestion`.
    """
    smoothed = ema_from_first(curve.losses, weight=WEIGHT)
    recorded = as_float32(smoothed[: length_until_ratio(smoothed, ratio=STOP_RATIO)])
    if not recorded.size:
        return None
    falling = recorded[: int(np.argmin(recorded)) + 1]
    if falling.size < MIN_FALLING:
        return None
    with np.errstate(over="ignore"):  # a fall too steep for single precision: as torch, no error
        slopes = np.float32(0.5) * (falling[2:] - falling[:-2])
    return curve.lrs[1 + int(np.argmin(slopes))]
