"""Reasons to trust a pick less than its interval says."""

from __future__ import annotations

from lrfinder.fit import Curve
from lrfinder.numbers import rate
from lrfinder.records import Stop, SweepSettings, Trace
from lrfinder.rules.band import GIVEN_BACK, starts_falling

_CUT_SHORT = {
    Stop.OUT_OF_DATA: "the data ran out before the sweep ended",
    Stop.OUT_OF_TIME: "the time limit cut the sweep short",
    Stop.INTERRUPTED: "the sweep was interrupted",
    Stop.TERMINATED: "the sweep was terminated",
    Stop.FAILED: "the sweep failed before it ended",
}


# Decades. A fall begins (a tenth of it) and ends (nine tenths) 0.5 to 2.6 decades apart on nineteen real tasks, and
# 0.36 to 0.44 on one that sits on a plateau before it learns: no more than the fit makes of a jump.
# There a short run bears rates that a long one, once it has left the plateau, does not (regret up to 0.4).
ALL_AT_ONCE = 0.5
_BEGUN, _ENDED = 0.1, 0.9  # of the fall


def doubts(curve: Curve, traces: tuple[Trace, ...], settings: SweepSettings) -> tuple[str, ...]:
    """Return, in words, what keeps a pick on this curve from being confident; empty where nothing does."""
    found = []
    measured = sum(1 for trace in traces if trace.losses)
    if measured == 1:
        found.append("a single repeat can't tell a pick from chance")
    if curve.loss[-1] < curve.loss.min() + GIVEN_BACK * curve.points.fall:
        found.append(f"the loss did not rise again up to {rate(10 ** float(curve.x[-1]))}, so the upper end is open")
    if starts_falling(curve):
        found.append(f"the loss already falls at {rate(10 ** float(curve.x[0]))}, so the lower end is open")
    found += sorted({_CUT_SHORT[trace.stop] for trace in traces if trace.stop in _CUT_SHORT})
    if measured < settings.repeats and not any(trace.stop in _CUT_SHORT for trace in traces):
        found.append(f"only {measured} of {settings.repeats} repeats were measured")
    return tuple(found)


def after_plateau(curve: Curve) -> tuple[str, ...]:
    """Return a doubt where the curve falls all at once; empty where it doesn't. It holds for short runs as well."""
    if _width_of_fall(curve) >= ALL_AT_ONCE:
        return ()
    return ("the loss falls all at once, as after a plateau: a long run may bear less than a short one",)


def _width_of_fall(curve: Curve) -> float:
    """Return how many decades lie between where the fit first comes below _BEGUN and _ENDED of its fall."""
    lowest = int(curve.loss.argmin())
    fallen = (curve.points.start - curve.loss[: lowest + 1]) / (curve.points.start - curve.loss[lowest])
    return float(curve.x[(fallen >= _ENDED).argmax()] - curve.x[(fallen >= _BEGUN).argmax()])
