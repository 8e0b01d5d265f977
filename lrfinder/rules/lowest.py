"""`lowest`: the rate at the lowest point of the fit, the upper end of what a peak rate can be."""

from __future__ import annotations

from lrfinder.fit import Curve
from lrfinder.records import Pick
from lrfinder.rules.pick_at import pick_at


def lowest(curve: Curve) -> Pick:
    """Return argmin over x of L(x), x = log10(rate): beyond it the loss rises again, so train below it."""
    why = "lowest loss of the sweep: train below this rate"
    return pick_at("lowest", curve.x[curve.loss.argmin()], curve.x[curve.loss_draws.argmin(axis=1)], why, advice=False)
