"""`steepest-raw`: the steepest point of the fit as it is, not corrected for what the sweep has already learned."""

from __future__ import annotations

from lrfinder.fit import Curve
from lrfinder.records import Pick
from lrfinder.rules.descent import fastest_before_lowest
from lrfinder.rules.pick_at import pick_at


def steepest_raw(curve: Curve) -> Pick:
    """Return argmin over x of dL/dx, x = log10(rate), left of the lowest point of the fit.

    The longer the sweep, the lower this rate: the sweep has learned before it gets there. After a plateau it doesn't
    move, since nothing was learned before.
    """
    index = fastest_before_lowest(-curve.slope, curve.loss)
    draws = fastest_before_lowest(-curve.slope_draws, curve.loss_draws)
    why = "steepest descent of the sweep curve, uncorrected"
    return pick_at("steepest-raw", curve.x[int(index)], curve.x[draws], why, advice=False)
