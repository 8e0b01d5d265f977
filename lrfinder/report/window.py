"""Which part of a curve is shown, so that the explosion at its end does not flatten what comes before."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lrfinder.records import Fit, Point, Spacing, SweepResult, SweepSettings, Trace

FEWEST_BEFORE_LOWEST = 10  # fewer points than these before the lowest one: their range says nothing about the curve
TAIL = 50  # one in so many of the losses on the way down, at each end, leaves the picture as a caret
CEILING = 2.0  # above the start loss: what is in view at most, in levels or falls of the curve, the larger one
FENCE = 3.0  # Tukey's far-out fence, in interquartile ranges
HEADROOM = 0.16  # of the losses' span: room for the band's label above the flat start
FOOTROOM = 0.16  # room for the label of the lowest point
SIDE_ROOM = 0.02  # of the rates' span
LARGEST_SHOWN = 1e30  # beyond, the arithmetic of an axis overflows; it is drawn like an infinite loss


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The rates and losses in view."""

    lr_low: float
    lr_high: float
    loss_low: float
    loss_high: float

    def shows(self, loss: float) -> bool:
        """Tell whether a loss is in view; NaN is not."""
        return self.loss_low <= loss <= self.loss_high


def points(result: SweepResult) -> tuple[Point, ...]:
    """Return every measurement that the fit is made of, in the order of measurement."""
    return _of(result.pick_source.traces)


def points_left_out(result: SweepResult) -> tuple[Point, ...]:
    """Return the measurements of a long sweep if picks are made from short ones instead."""
    return () if result.pick_source is result else _of(result.traces)


def _of(traces: Sequence[Trace]) -> tuple[Point, ...]:
    return tuple(
        Point(repeat=trace.repeat, step=step, lr=lr, loss=loss)
        for trace in traces
        for step, (lr, loss) in enumerate(zip(trace.lrs, trace.losses, strict=True))
    )


def run_ends(result: SweepResult) -> tuple[tuple[float, float], ...]:
    """Return rate and final loss of every short run that can be drawn, by rising rate."""
    ends = [(run.plan.lr, run.loss) for run in result.runs if run.loss is not None and is_shown(run.loss)]
    return tuple(sorted(ends))


def thinned(items: Sequence[Any], most: int) -> Sequence[Any]:
    """Return every k-th item, with the smallest k that leaves `most` of them."""
    return items[:: math.ceil(len(items) / most) or 1]


def is_shown(loss: float) -> bool:
    """Say whether a loss can be a position on an axis; NaN, infinite and absurd losses can't."""
    return math.isfinite(loss) and abs(loss) <= LARGEST_SHOWN


def start_loss(result: SweepResult, fit: Fit | None) -> float | None:
    """Return the loss before anything was learned: the fit's, or the median of the repeats' initial losses."""
    if fit is not None:
        return fit.start
    began = result.traces or result.runs
    initial = [one.initial_loss for one in began if one.initial_loss is not None and is_shown(one.initial_loss)]
    return statistics.median(initial) if initial else None


def lowest(fit: Fit) -> tuple[float, float]:
    """Return rate and loss of the fit's lowest point."""
    loss = min(fit.losses)
    return fit.lrs[fit.losses.index(loss)], loss


def window_of(result: SweepResult, fit: Fit | None, *, with_runs: bool = True) -> Window | None:
    """Return what to show of the curve, or None if not one loss can be drawn.

    With a fit: from below its lowest value to above the losses on the way down to it. Without: everything
    within Tukey's fences. The start loss is always in view, and so are the short runs' ends up to CEILING, but
    without `with_runs` only their rates.
    """
    measured, ran = points(result), run_ends(result)
    ends = ran if with_runs else ()
    shown = [point for point in measured if is_shown(point.loss)]
    if not shown and not ends:
        return None
    end = -math.inf if fit is None else lowest(fit)[0]
    on_the_way_down = [point.loss for point in shown if point.lr <= end]
    if fit is not None and len(on_the_way_down) >= FEWEST_BEFORE_LOWEST:
        shares = statistics.quantiles(on_the_way_down, n=TAIL, method="inclusive")
        low, high = min(lowest(fit)[1], shares[0]), shares[-1]
    else:
        low, high = _fences([point.loss for point in shown] or [loss for _, loss in ends])
    low, high = min([low, *(loss for _, loss in ends)]), max([high, *(loss for _, loss in ends)])
    start = start_loss(result, fit)
    if start is not None and is_shown(start):
        low = min(low, start)
        # A sweep that diverges at once is mostly explosion: what rises far above the start is no longer curve.
        high = max(start, min(high, start + CEILING * max(abs(start), start - low)))
    # A curve without any height still needs an axis: a tenth of its level, or 1 around zero.
    span = (high - low) or abs(high) / 10 or 1.0
    lr_low, lr_high = _rates([point.lr for point in measured] + [lr for lr, _ in ran], result.settings.spacing)
    return Window(lr_low=lr_low, lr_high=lr_high, loss_low=low - FOOTROOM * span, loss_high=high + HEADROOM * span)


def live_window(settings: SweepSettings, losses: Sequence[float], ends: Sequence[tuple[float, float]]) -> Window | None:
    """Return what to show of a sweep that still runs: its rates, and no more above the first loss than lies below it.

    `losses` are in the order of measurement, `ends` the rates and losses of trial runs. None: there is nothing to draw.
    """
    shown = [loss for loss in [*losses, *(loss for _, loss in ends)] if is_shown(loss)]
    if not shown:
        return None
    start, low = shown[0], min(shown)
    span = max(start - low, abs(start) / 10) or 1.0
    lrs = [lr for lr, _ in ends] + ([settings.min_lr, settings.max_lr] if losses else [])
    lr_low, lr_high = _rates(lrs, settings.spacing)
    high = min(max(shown), start + span)
    return Window(lr_low=lr_low, lr_high=lr_high, loss_low=low - FOOTROOM * span, loss_high=high + HEADROOM * span)


def trials_window(result: SweepResult) -> Window | None:
    """Return what to show of the short runs' ends, or None if there are none; one that ended high is out of view."""
    ends = run_ends(result)
    if not ends:
        return None
    low, high = _fences([loss for _, loss in ends])
    span = (high - low) or abs(high) / 10 or 1.0
    lr_low, lr_high = _rates([run.plan.lr for run in result.runs], result.settings.spacing)
    return Window(lr_low=lr_low, lr_high=lr_high, loss_low=low - FOOTROOM * span, loss_high=high + HEADROOM * span)


def _fences(losses: Sequence[float]) -> tuple[float, float]:
    if len(losses) == 1:
        return losses[0], losses[0]
    first, _, third = statistics.quantiles(losses, n=4, method="inclusive")
    reach = FENCE * (third - first)
    return max(min(losses), first - reach), min(max(losses), third + reach)


def _rates(lrs: Sequence[float], spacing: Spacing) -> tuple[float, float]:
    low, high = min(lrs), max(lrs)
    if low == high:  # a single rate in the middle of the axis
        low, high = low / 2, high * 2
    if spacing is Spacing.LINEAR:
        room = SIDE_ROOM * (high - low)
        return low - room, high + room
    factor = (high / low) ** SIDE_ROOM
    return low / factor, high * factor
