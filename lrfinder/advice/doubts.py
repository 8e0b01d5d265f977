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
