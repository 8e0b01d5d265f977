"""`steepest`: the rate at which the loss falls fastest, relative to what is left to fall."""

from __future__ import annotations

from lrfinder.fit import Curve
from lrfinder.records import Pick
from lrfinder.rules.descent import fastest_before_lowest, relative_descent
from lrfinder.rules.pick_at import pick_at
from lrfinder.rules.smoothing import smooth


def steepest(curve: Curve) -> Pick:
    """Return argmax over x of -(da/dx) / (a - floor), x = log10(rate), left of the lowest point of a.

    a is the smoothed fitted loss (`smooth`), floor its lowest value less a reserve (`relative_descent`). This is the
    range test's own definition (Smith, arXiv:1506.01186), for an update *from a comparable state*. The interval holds
    90 % of the bootstrap's picks.
    """
    around, start = smooth(curve), curve.points.start
    index = fastest_before_lowest(relative_descent(around.loss, around.slope, start), around.loss)
    draws = fastest_before_lowest(relative_descent(around.loss_draws, around.slope_draws, start), around.loss_draws)
    why = "steepest descent of the sweep curve, corrected for what was already learned"
    return pick_at("steepest", float(curve.x[int(index)]), curve.x[draws], why, advice=True)
