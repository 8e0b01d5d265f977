"""Refine a schedule by the gradient norms of a finished run."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from lrfinder.config import ScheduleConfig
from lrfinder.errors import UsageError
from lrfinder.gradient_norms.log import NormLog
from lrfinder.optimizers import traits_of
from lrfinder.schedules import Table
from lrfinder.schedules.table import MOST_POINTS, line_through

Norm = Literal["l1", "l2"]

SMOOTHING = 0.1  # of the run, the window of the median: the paper's tau, which it keeps for all its problems
# Norms are known to a few percent: lines within half a percent of the peak, and six digits, are exact enough.
NEAR = 5e-3
DIGITS = 6
_NO_MOMENTUM = "The config moves the momentum too: the table doesn't, and leaves it as the optimizer has it."


@dataclass(frozen=True, slots=True, kw_only=True)
class Refined:
    """A refined config; `norm` is the one that was used, `missing` the updates whose norm was not known.

    `left_out` says what of the config a table doesn't have, a sentence for each.
    """

    config: ScheduleConfig
    norm: Norm
    missing: int
    left_out: tuple[str, ...] = ()


def refine(config: ScheduleConfig, log: NormLog, *, norm: Norm | None = None, smoothing: float = SMOOTHING) -> Refined:
    """Return the config with the schedule that the norms of its own complete run make optimal, as a table.

    Without a `norm`, l2 for SGD and l1 for everything else. See `refined_factors`. The table's lines are within NEAR of
    it, or as near as MOST_POINTS points come. The peak stays as it is; it should be tuned again, for it was found for
    another shape.

    Raises UsageError if the log is not that of a complete run of the config, its batch grows, the norm is unknown, or
    smoothing isn't a share.
    """
    if norm not in {None, *get_args(Norm)}:
        raise UsageError(f"norm must be l1 or l2, got {norm!r}")
    if not 0 < smoothing < 1:
        raise UsageError(f"smoothing must be a share of the run, above 0 and below 1, got {smoothing:g}")
    if config.batch is not None:
        hint = "record a run at one batch size, by the config without its `batch`"
        raise UsageError("the batch of this config grows, and the norms of its gradients fall with it", hint=hint)
    recorded = len(log.l1)
    if recorded != config.steps:
        raise UsageError(
            f"the log has {recorded} updates, but the config's run has {config.steps}",
            hint="record one complete run: a part of it, or a range sweep, has other gradients",
        )
    chosen: Norm = norm or traits_of(config.optimizer.name).norm
    norms = [value if math.isfinite(value) and value > 0 else math.nan for value in getattr(log, chosen)]
    missing = sum(map(math.isnan, norms))
    if missing > recorded // 2:
        raise UsageError(
            f"{missing} of {recorded} norms are zero, infinite or missing", hint="record the run again, in one piece"
        )
    factors = refined_factors(_filled(norms), power=2 if chosen == "l2" else 1, smoothing=smoothing)
    table = Table(steps=config.steps, epoch=config.schedule.epoch, points=_points(factors))
    left_out = () if config.schedule.momentum(0) is None else (_NO_MOMENTUM,)
    refined = config.model_copy(update={"schedule": table})
    return Refined(config=refined, norm=chosen, missing=missing, left_out=left_out)


def _points(factors: Sequence[float]) -> tuple[tuple[int, float], ...]:
    near = NEAR
    while len(points := line_through(factors, tolerance=near)) > MOST_POINTS:
        near *= 2
    return tuple((update, round(factor, DIGITS)) for update, factor in points)


def refined_factors(norms: Sequence[float], *, power: int, smoothing: float) -> tuple[float, ...]:
    """Return the refined schedule over its peak, a factor for each update of the run that `norms` are of.

    g_t   = median of the norms within n updates around t, n = 2 floor(smoothing T / 2) + 1
    w_t   = g_t ** -power                              power 2 for SGD and l2 norms, 1 for Adam's kind and l1 norms
    f_t   = w_t * sum_(s > t) w_s, over the largest of them                          t = 0 ... T - 1, in updates

    So it warms up if gradients start large, and ends at 0: with constant norms f_t = 1 - t / (T - 1). The window of
    the median is filled with the first norm on the left, and by reflection on the right.

    Defazio, Cutkosky, Mehta & Mishchenko, arXiv:2310.07831, Algorithms 1 and 2; the padding is that of their published
    code, whose resampling of short runs to 10,000 points is left out: it makes the window depend on more than the run.
    """
    smooth = _median_filter(norms, 2 * math.floor(smoothing * len(norms) / 2) + 1)
    smallest = min(smooth)
    weights = [(smallest / value) ** power for value in smooth]  # over the largest: 1e-30 squared would be 0
    left, factors = 0.0, []
    for weight in reversed(weights):
        factors.append(weight * left)
        left += weight
    factors.reverse()
    peak = max(factors)
    if peak == 0:  # a run of one update has no later one
        return (1.0,) * len(factors)
    return tuple(factor / peak for factor in factors)


def _median_filter(values: Sequence[float], width: int) -> list[float]:
    """Return the median of the `width` (odd) values around each."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pandas 2.2.0 asks for Pyarrow
        import pandas as pd  # here alone: nothing else of configs needs it

    half = width // 2
    padded = [_padded(values, i) for i in range(-half, len(values) + half)]
    medians: list[float] = pd.Series(padded).rolling(width).median().iloc[width - 1 :].tolist()
    return medians


def _padded(values: Sequence[float], i: int) -> float:
    """Return the value at i: the first one to the left, reflected about the last to the right."""
    last = len(values) - 1
    if i <= 0 or last == 0:
        return values[0]
    i %= 2 * last
    return values[min(i, 2 * last - i)]


def _filled(norms: Sequence[float]) -> list[float]:
    """Fill each missing norm with the last known one before it; at the beginning, with the first known one."""
    known = next(norm for norm in norms if not math.isnan(norm))
    filled = []
    for norm in norms:
        known = known if math.isnan(norm) else norm
        filled.append(known)
    return filled
