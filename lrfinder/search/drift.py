"""How the best rate moves with the length of the run: measured on runs of two lengths, extrapolated to a third."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from lrfinder.formatting import format_factor
from lrfinder.optimizers import traits_of
from lrfinder.search.lr_profile import LrProfile

LOCATING = 0.05  # decades (sd): chance in the place of a lowest point: advice/README.md#locating
FARTHEST = 0.25  # decades: the largest shift between tried and full length: advice/README.md#farthest
NEAR_BEST = 0.03  # of the longer runs' fall; the rate is the middle of these: advice/README.md#near_best

# Decades per doubling (sd): what a drift may yet be, if a longer run repeats its data, and if it sees them once:
# advice/README.md#drift_spread
DRIFT_SPREAD, DRIFT_SPREAD_ONCE = 0.02, 0.03
_ROOT = math.log10(2) / 2  # decades per doubling
EXPECTED_SPREAD = 0.03  # decades per doubling (sd) of drifts around the expected one: advice/README.md#expected_spread


def expected_drift(optimizer: str, settings: Mapping[str, object]) -> float:
    """Return by how many decades the best rate moves with each doubling of the run, by the optimizer's own update.

    `optimizer` is the class's name, `settings` its arguments.

    A moving average of squared gradients (Adam, RMSprop, Adadelta) forgets, and plain SGD keeps nothing: at the same
    share of a run their step doesn't depend on how long the run is.

    Adagrad's update is lr g_t / sqrt(g_1^2 + ... + g_t^2). With gradients that depend on the share u = t / n of a run
    of n updates, the sum is n times the integral of g(v)^2 over v from 0 to u: at the same share the step is
    proportional to lr / sqrt(n). It stays the same if the rate grows as sqrt(n): by log10(2) / 2 decades per doubling.
    An `initial_accumulator_value` may outweigh the sum; then, and for all other optimizers, nothing is expected: 0.

    Source: Duchi, Hazan, Singer, "Adaptive subgradient methods", JMLR 12 (2011), the diagonal update.
    """
    return _ROOT if traits_of(optimizer).accumulates and not settings.get("initial_accumulator_value") else 0.0


def expected_shift(optimizer: str, settings: Mapping[str, object], *, short: int, long: int) -> float:
    """Return by how many decades the best rate is expected to move from runs of `short` updates to ones of `long`.

    `expected_drift` for each doubling; 0 if the runs of `long` updates are not longer.
    """
    return expected_drift(optimizer, settings) * max(0.0, math.log2(long / short))


def step_falls(optimizer: str) -> str:
    """Return the beginning of a sentence on an expected drift; its end says how far the rate moves."""
    return f"{optimizer}'s own step falls as the root of the number of updates, which lets the best rate go"


def drift_between(optimizer: str, shift: float, *, short: int, long: int) -> str:
    """Return the words for an `expected_shift`."""
    return f"{step_falls(optimizer)} {format_factor(shift)} from {short} to {long} updates"


@dataclass(frozen=True, slots=True, kw_only=True)
class LrDrift:
    """The best rate at the full length: `x` = log10(rate), `error` its standard error in decades.

    All drifts are in decades for each doubling of the length: `per_doubling` is the measured one, None if there was
    only one length; `expected` follows from the optimizer's own update, `weighed` from both. `doublings` of the length
    lie between the longest runs that were measured and the full one; `moved` is the whole shift, in decades. `cut`: it
    met its bound. `cliff`: a distance from a cliff was kept, so a higher rate is not as good.
    """

    x: float
    error: float
    per_doubling: float | None
    expected: float
    weighed: float
    doublings: float
    moved: float
    cut: bool
    cliff: bool


def extrapolate(
    short: LrProfile | None, long: LrProfile, steps: int, *, expected: float = 0.0, repeated: bool = False
) -> LrDrift:
    """Return where the lowest point of `long` lies for runs of `steps` updates, by the drift from `short` to `long`.

    d = (x_long - x_short) / log2(n_long / n_short)        measured, in decades per doubling
    b = e + w (d - e),    w = t^2 / (t^2 + s^2),    s = sqrt(2) LOCATING / log2(n_long / n_short)
    x = m_long + b log2(steps / n_long)

    m_long is the middle of the rates whose longer runs ended within NEAR_BEST of the best. If they were as long as the
    full one, it keeps a distance from a cliff (`LrProfile.cliff_margin`). e is the `expected` drift, s the standard
    error of d, t how far true drifts lie from e: with normal errors b is the expected drift after d was seen. t is
    EXPECTED_SPREAD if a drift is expected. Otherwise it is |d|, the only hint there is, so that a drift is shrunk
    towards 0 as far as it could be chance. The whole shift is cut to FARTHEST. The error is LOCATING, and DRIFT_SPREAD
    times the doublings, in quadrature; DRIFT_SPREAD_ONCE unless the runs' data are `repeated`.

    Without `short`, d is unknown, b is e, and LOCATING stands for s. If the runs were as long as the full one, nothing
    moves.
    """
    doublings = max(0.0, math.log2(steps / long.steps))
    measured, between = None, 1.0
    if short is not None and short.steps < long.steps:
        between = math.log2(long.steps / short.steps)
        measured = (long.x - short.x) / between
    chance = LOCATING if measured is None else math.sqrt(2) * LOCATING / between
    weighed = expected if measured is None else _weighed(measured, expected, chance)
    shift = max(-FARTHEST, min(FARTHEST, weighed * doublings))
    middle = long.near_best_middle(NEAR_BEST)
    clear = long.cliff_margin(middle) if doublings == 0 else middle
    return LrDrift(
        x=clear + shift,
        error=math.hypot(LOCATING, (DRIFT_SPREAD if repeated else DRIFT_SPREAD_ONCE) * doublings),
        per_doubling=measured,
        expected=expected,
        weighed=weighed,
        doublings=doublings,
        moved=shift,
        cut=shift != weighed * doublings,
        cliff=clear < middle,
    )


def _weighed(measured: float, expected: float, chance: float) -> float:
    spread = EXPECTED_SPREAD if expected else abs(measured)
    return expected + (measured - expected) * spread**2 / (spread**2 + chance**2)
