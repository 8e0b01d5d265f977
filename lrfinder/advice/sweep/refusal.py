"""Refuse a sweep that allows no pick: the reason, and what to do about it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lrfinder.fit import MIN_POINTS, Curve, count_finite
from lrfinder.formatting import format_loss, format_lr
from lrfinder.options import TOO_NARROW, UNMOVED_WEIGHTS
from lrfinder.records import Stop, SweepSettings, Trace
from lrfinder.rules.band import starts_falling
from lrfinder.rules.smoothing import WIDTH
from lrfinder.rules.steepest import steepest

SIGNIFICANT_FALL = 3.5  # standard errors between the start and the fit: rules/README.md#significant_fall
EDGE = WIDTH / 2  # decades: nearer to an end, the average can't tell a turning point from the end
ROUNDING = 1e-6  # of the loss: single precision has seven digits
NEAR_START = 1.0  # decades: so near, and without a flat part before, the average can't tell a pick from the edge
AT_ONCE = 1.0  # decades: a sweep that diverges within its first decade began too high


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """No rate can be picked: why, and what to do. `known`: what ended the sweep is known, so no more is guessed."""

    why: str
    hint: str
    known: bool = False


def refuse_points(traces: tuple[Trace, ...], settings: SweepSettings) -> Refusal | None:
    """Refuse if there are too few losses for any fit."""
    finite = count_finite(traces)
    if finite >= MIN_POINTS:
        return None
    found = f"{finite} finite loss{'' if finite == 1 else 'es'}, a fit needs {MIN_POINTS}"
    if traces and all(trace.stop is Stop.NON_FINITE for trace in traces):
        if all(trace.initial_loss is None or not np.isfinite(trace.initial_loss) for trace in traces):
            return Refusal(
                why=f"the loss is not finite before any update ({found})",
                hint="look at the loss of one batch: NaN in the data, log(0), a division by zero, an overflow",
                known=True,
            )
        # At the lowest rates it is seldom the rate: what the engine saw tells.
        seen = next(trace.why for trace in traces if trace.initial_loss is not None and np.isfinite(trace.initial_loss))
        hint = (
            "look for NaN in the data, log(0), a division by zero, in the loss or its gradient; where it is the rate, "
            f"{_lower(settings)}"
        )
        if TOO_NARROW in seen:
            hint = "give the optimizer weights in float32: the model without .half()"
        why = f"the loss became NaN or infinite at once ({found})" + (f": {seen}" if seen else "")
        return Refusal(why=why, hint=hint, known=True)
    if traces and all(trace.stop.blew_up for trace in traces):
        return Refusal(why=f"the loss diverged at once ({found})", hint=_lower(settings), known=True)
    return Refusal(why=f"too few points: {found}", hint="sweep again with more --steps")


def refuse_curve(curve: Curve, traces: tuple[Trace, ...], settings: SweepSettings) -> Refusal | None:
    """Refuse if the fitted curve shows no pick: it never fell, is too noisy, or the optimum lies outside."""
    return (
        _never_fell(curve, traces, settings)
        or _still_falling(curve, traces, settings)
        or _already_falling(curve, settings)
    )


def refuse_beginning() -> Refusal:
    """Refuse a curve around whose steepest point runs of their own learned next to nothing."""
    return Refusal(
        why="where it falls fastest, runs of their own learned next to nothing, so it saw only a beginning",
        hint="sweep again with more --repeats",
    )


def _never_fell(curve: Curve, traces: tuple[Trace, ...], settings: SweepSettings) -> Refusal | None:
    falls = curve.points.start - curve.loss
    errors = np.hypot(curve.error, curve.start_error)
    # A noise-free curve has no error at all: then anything above rounding is a fall.
    rounding = ROUNDING * max(abs(curve.points.start), float(np.ptp(curve.points.y)))
    # Anywhere, not only at the lowest point: high rates are noisy, and the start of a fall is often its surest part.
    if np.any(falls > np.maximum(SIGNIFICANT_FALL * errors, rounding)):
        return None
    if len({trace.initial_loss for trace in traces} | {loss for trace in traces for loss in trace.losses}) == 1:
        return Refusal(
            why=f"the loss is exactly {format_loss(curve.points.start)} before and after every update",
            hint="no trained weight changes it: look for a loss that is met from the start, a detach, a clamp, an "
            "activation at its limit",
            known=True,
        )
    reach = max(np.log10(trace.lrs[-1]) for trace in traces if trace.lrs) - np.log10(settings.min_lr)
    if all(trace.stop.blew_up for trace in traces) and reach < AT_ONCE:
        return Refusal(
            why="the loss diverged at once: it rose within the first decade and never fell",
            hint=_lower(settings),
            known=True,
        )
    lowest = int(falls.argmax())
    if falls[lowest] > max(2 * curve.noise, rounding):
        return Refusal(
            why=f"too noisy: a fall of {format_loss(falls[lowest])} against a standard error of "
            f"{format_loss(errors[lowest])}",
            hint="average more: --repeats 5, or larger batches",
        )
    unmoved = next((trace.note for trace in traces if UNMOVED_WEIGHTS in trace.note), None)
    if unmoved is not None:
        return Refusal(why=f"the loss never fell: {unmoved}", hint="give the optimizer whose step() trains this model")
    return Refusal(
        why=f"the loss never fell: it began at {format_loss(curve.points.start)} and no rate brought it clearly below "
        "that",
        hint="check that the model can learn (targets, loss, frozen parameters), or try a higher --max-lr",
    )


def _still_falling(curve: Curve, traces: tuple[Trace, ...], settings: SweepSettings) -> Refusal | None:
    if curve.x[-1] - _steepest_x(curve) >= EDGE or any(trace.stop.blew_up for trace in traces):
        return None
    highest = 10 ** curve.x[-1]
    return Refusal(
        why=f"the loss still falls fastest at the highest rate tried ({format_lr(highest)})",
        hint=f"sweep again with --max-lr {settings.max_lr * 100:g}",
    )


def _already_falling(curve: Curve, settings: SweepSettings) -> Refusal | None:
    """Refuse if the curve is steepest near its lower end, without a flat start before it."""
    if _steepest_x(curve) - curve.x[0] >= NEAR_START or not starts_falling(curve):
        return None
    return Refusal(
        why=f"the loss falls fastest near the lowest rate tried ({format_lr(settings.min_lr)}): the best may lie below "
        "it",
        hint=_lower(settings),
    )


def _steepest_x(curve: Curve) -> float:
    return math.log10(steepest(curve).lr or math.nan)


def _lower(settings: SweepSettings) -> str:
    return f"sweep again with --min-lr {settings.min_lr / 1000:.0e}"
