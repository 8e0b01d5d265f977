"""Reasons to trust a pick less than its interval says."""

from __future__ import annotations

import numpy as np

from lrfinder.fit import Curve
from lrfinder.formatting import format_count, format_loss, format_lr
from lrfinder.options import STOP_TEXT
from lrfinder.records import OptimizerFacts, ShortRun, SweepSettings, Trace
from lrfinder.rules.band import GIVEN_BACK, starts_falling
from lrfinder.search.drift import drift_between, expected_shift
from lrfinder.search.passes import REFERENCE_RUN

ALL_AT_ONCE = 0.5  # decades from the beginning to the end of a fall: rules/README.md#all_at_once
_BEGUN, _ENDED = 0.1, 0.9  # of the fall
FARTHEST_UNMEASURED = 0.15  # decades of expected, unmeasured drift: rules/README.md#farthest_unmeasured
HARDLY_BEGUN = 0.9  # of the loss of the best constant prediction: advice/README.md#hardly_begun
UNCLEAR = 2.0  # standard errors; a smaller fall may be chance: rules/README.md#unclear


def curve_warnings(curve: Curve, traces: tuple[Trace, ...], settings: SweepSettings) -> tuple[str, ...]:
    """Return, in words, what keeps a pick on this curve from being confident; empty if nothing does."""
    found = []
    measured = sum(1 for trace in traces if trace.losses)
    if measured == 1:
        found.append("a single repeat can't tell a pick from chance")
    if curve.loss[-1] < curve.loss.min() + GIVEN_BACK * curve.points.fall:
        found.append(
            f"the loss did not rise again up to {format_lr(10 ** float(curve.x[-1]))}, so the upper end is open"
        )
    if starts_falling(curve):
        found.append(f"the loss already falls at {format_lr(10 ** float(curve.x[0]))}, so the lower end is open")
    found += sorted({f"the sweep ended early: {STOP_TEXT[trace.stop]}" for trace in traces if trace.stop.cut_short})
    if measured < settings.repeats and not any(trace.stop.cut_short for trace in traces):
        found.append(f"only {measured} of {settings.repeats} repeats were measured")
    return tuple(found)


def sweep_too_long(settings: SweepSettings) -> tuple[str, ...]:
    """Return a doubt if picks rest on a long sweep, because the short sweeps beside it did not all end."""
    if settings.short() is None:
        return ()
    used_up = (
        f"a sweep of {format_count(settings.steps, 'update')} has used up the loss before it reaches the best rates"
    )
    return (f"{used_up}, and the short ones that are read in its place did not all end",)


def lr_drifts(optimizer: OptimizerFacts, tried: int, steps: int | None) -> tuple[str, ...]:
    """Return a doubt if the optimizer's own update moves the best rate far between `tried` updates and the run's.

    Its `steps` are REFERENCE_RUN if they aren't known: no shorter run repays a sweep.
    """
    whole = REFERENCE_RUN if steps is None else steps
    shift = expected_shift(optimizer.name, optimizer.settings, short=tried, long=whole)
    if shift <= FARTHEST_UNMEASURED:
        return ()
    lets = drift_between(optimizer.name, shift, short=tried, long=whole)
    return (f"{lets}, and nothing that long was tried: let `lrfinder verify` try",)


def line_search(optimizer: OptimizerFacts) -> tuple[str, ...]:
    """Return a doubt if the optimizer seeks the length of each step itself, as LBFGS does with a line search."""
    if not optimizer.settings.get("line_search_fn"):
        return ()
    return ("its line search chooses each step itself, so far other rates may do as well",)


def hardly_begun(runs: tuple[ShortRun, ...], steps: int | None) -> tuple[str, ...]:
    """Return a doubt if the best short run ended little below the best constant prediction, and the run is longer.

    Its `steps` may be unknown, None.
    """
    ended = [(run.loss, run.constant, run.plan.steps) for run in runs if run.loss is not None and run.constant]
    if not ended:
        return ()
    loss, constant, tried = min(ended)
    if loss <= HARDLY_BEGUN * constant or (steps is not None and steps <= tried):
        return ()
    ends = f"ended at {format_loss(loss)}, where a constant prediction would at {format_loss(constant)}"
    later = "what is learned later may want another rate; let `lrfinder verify` try"
    return (f"the best run of {tried} updates {ends}: {later}",)


def weak_fall(curve: Curve) -> tuple[str, ...]:
    """Return a doubt if the lowest loss of the curve may be chance; for short runs that the curve guides, too."""
    lowest = int(curve.loss.argmin())
    if curve.points.start - curve.loss[lowest] >= UNCLEAR * np.hypot(curve.error[lowest], curve.start_error):
        return ()
    return ("the fall up to the sweep's lowest loss is hardly more than chance",)


def late_onset(curve: Curve) -> tuple[str, ...]:
    """Return a doubt if the curve falls all at once; empty if it doesn't. It holds for short runs as well."""
    if _width_of_fall(curve) >= ALL_AT_ONCE:
        return ()
    return ("the loss falls all at once, as after a plateau: a long run may bear less than a short one",)


def _width_of_fall(curve: Curve) -> float:
    """Return how many decades the fit takes from _BEGUN to _ENDED of its fall, from the last time that it is above."""
    lowest = int(curve.loss.argmin())
    fallen = (curve.points.start - curve.loss[: lowest + 1]) / (curve.points.start - curve.loss[lowest])
    end = int((fallen >= _ENDED).argmax())
    above = np.flatnonzero(fallen[:end] < _BEGUN)  # by chance the flat part before may come below it, too
    return float(curve.x[end] - curve.x[above[-1] + 1 if above.size else 0])
