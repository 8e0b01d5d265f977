"""Where the ticks of an axis stand, and what they say."""

from __future__ import annotations

import math

from lrfinder.formatting import decade, format_loss, format_lr
from lrfinder.records import Spacing
from lrfinder.report.window import Window

Ticks = list[tuple[float, str]]  # value and label


def rate_ticks(window: Window, spacing: Spacing, *, most: int) -> Ticks:
    """Return at most `most` ticks on the axis of rates: decades, or round rates if those are too few."""
    round_rates = [(tick, format_lr(tick)) for tick in round_ticks(window.lr_low, window.lr_high, most=most)]
    if spacing is Spacing.LINEAR:
        return round_rates
    exponents = range(math.ceil(math.log10(window.lr_low)), math.floor(math.log10(window.lr_high)) + 1)
    if len(exponents) < 2:  # noqa: PLR2004 - one label says nothing about the scale
        return [(tick, label) for tick, label in round_rates if tick > 0]
    return [(10.0**e, decade(e)) for e in exponents[:: math.ceil(len(exponents) / most)]]


def loss_ticks(window: Window, *, most: int) -> Ticks:
    """Return at most `most` ticks on the axis of losses."""
    return [(tick, format_loss(tick)) for tick in round_ticks(window.loss_low, window.loss_high, most=most)]


def round_ticks(low: float, high: float, *, most: int) -> list[float]:
    """Return at most `most` multiples of 1, 2 or 5 times a power of ten from `low` to `high` (Heckbert, 1990)."""
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    for factor in (1, 2, 5, 10, 20):
        step = factor * power
        first, last = math.ceil(low / step), math.floor(high / step)
        if last - first < most:
            break
    return [i * step for i in range(first, last + 1)]
