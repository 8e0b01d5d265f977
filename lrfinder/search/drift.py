"""How the best rate moves with the length of the run, measured on runs of two lengths, and carried on to a third."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from lrfinder.formatting import format_factor
from lrfinder.optimizers import traits_of
from lrfinder.search.valley import LrProfile

# Decades (standard deviation): how far the lowest point of runs a quarter of a decade apart lies from where it would
# lie without chance. Thirteen real tasks, three seeds, runs of 50 to 200 updates: 0.03 to 0.1 between seeds. At 0.1
# real drifts are shrunk too much (mean regret at 1,600 updates 0.055 instead of 0.043), at 0 nothing is gained (0.039).
LOCATING = 0.05
# Decades: about the distance between two trials. Two lengths tell the way and little more: carried on without a limit,
# the mean regret on six tasks of 1,600 updates is 0.05 to 0.08, not at all 0.03, by up to 0.2 to 0.3 decade 0.003.
FARTHEST = 0.25
# Of the longer runs' fall: rates whose runs end within so much of the best are one to a single run of each, and the
# middle of them is nearer to the best than the vertex of a parabola, which follows the chance of three runs. Eight real
# tasks tried at their full length of 400 updates, three seeds: mean (worst) regret 0.0085 (0.040) at 0.02, 0.0078
# (0.022) at 0.03, 0.0081 (0.028) at 0.05, and 0.0090 (0.067) at the vertex; six of 1,600, five seeds: 0.012 to 0.013
# (0.16) at any of them, and 0.014 (0.16) at the vertex.
NEARLY = 0.03

_ROOT = math.log10(2) / 2  # decades per doubling
# Decades per doubling (standard deviation): how far a drift that is expected lies from the true one. Four tasks with
# Adagrad, 50 verifications for 1,600 updates: between 47 and 141 updates 0.13, 0.11, 0.04 and -0.09 were measured
# (means over the seeds, which differ by 0.03 to 0.15), and from there on 0.07, 0.13, 0.17 and 0.00 are the truth: what
# the update makes of it says more of the rest of the way than one seed's two lengths. Mean regret 0.026 at 0 (the
# measured drift unused), 0.028 at 0.03, 0.034 at 0.05, 0.043 at 0.1; 0.044 with nothing expected.
EXPECTED_SPREAD = 0.03


def expected_drift(optimizer: str, settings: Mapping[str, object]) -> float:
    """Return by how many decades the best rate moves with each doubling of the run, by the optimizer's own update.

    `optimizer` is the class's name, `settings` its arguments.

    A moving average of squared gradients (Adam, RMSprop, Adadelta) forgets, and plain SGD keeps nothing: at the same
    share of a run their step doesn't depend on how long the run is.

    Adagrad's update is lr g_t / sqrt(g_1^2 + ... + g_t^2). With gradients that depend on the share u = t / n of a run
    of n updates, the sum is n times the integral of g(v)^2 over v from 0 to u: at the same share the step is
    proportional to lr / sqrt(n), and stays what it was where the rate grows as sqrt(n), by log10(2) / 2 decades. An
    `initial_accumulator_value` may outweigh the sum; then, and of all other optimizers, nothing is expected: 0.

    Source: Duchi, Hazan, Singer, "Adaptive subgradient methods", JMLR 12 (2011), the diagonal update.
    """
    return _ROOT if traits_of(optimizer).accumulates and not settings.get("initial_accumulator_value") else 0.0


def expected_shift(optimizer: str, settings: Mapping[str, object], *, short: int, long: int) -> float:
    """Return by how many decades the best rate is expected to move from runs of `short` updates to ones of `long`.

    `expected_drift` with each doubling; 0 where the runs of `long` updates are no longer.
    """
    return expected_drift(optimizer, settings) * max(0.0, math.log2(long / short))


def step_falls(optimizer: str) -> str:
    """Return the beginning of a sentence on an expected drift; how far the rate goes is its end."""
    return f"{optimizer}'s own step falls as the root of the number of updates, which lets the best rate go"


def drift_between(optimizer: str, shift: float, *, short: int, long: int) -> str:
    """Return the words for an `expected_shift`."""
    return f"{step_falls(optimizer)} {format_factor(shift)} from {short} to {long} updates"


@dataclass(frozen=True, slots=True, kw_only=True)
class LrDrift:
    """The best rate at the full length: `x` = log10(rate), `error` its standard error in decades.

    `per_doubling` is the measured shift in decades each time the length doubles, None where there was nothing to
    measure it on; `expected` what the optimizer's own update makes of it, `weighed` what follows from both. `doublings`
    of the length lie between the longest runs that were measured and the full one. `cut`: the shift met its bound.
    `cliff`: a distance from one was kept, so a rate any higher is not as good.
    """

    x: float
    error: float
    per_doubling: float | None
    expected: float
    weighed: float
    doublings: float
    cut: bool
    cliff: bool


def extrapolate(short: LrProfile | None, long: LrProfile, steps: int, *, expected: float = 0.0) -> LrDrift:
    """Return where the lowest point of `long` lies for runs of `steps` updates, by the drift from `short` to `long`.

    d = (x_long - x_short) / log2(n_long / n_short)        measured, in decades per doubling
    b = e + w (d - e),    w = t^2 / (t^2 + s^2),    s = sqrt(2) LOCATING / log2(n_long / n_short)
    x = m_long + b log2(steps / n_long)

    m_long is the middle of the rates whose longer runs ended within NEARLY of the best; where they were as long as the
    full one, off the cliff, if there is one (`LrProfile.off_the_cliff`). e is the `expected` drift, s
    the standard error of d, t how far true drifts lie from e: with normal errors b is the mean of what is known of the
    drift after d was seen. t is EXPECTED_SPREAD where something is expected; else |d|, the only sign of it that there
    is, so that a drift is shrunk to 0 as far as it could be chance. The whole shift is cut to FARTHEST. The error is
    LOCATING, s with every doubling, and what was cut off, in quadrature.

    Without `short` d is unknown, b is e, and LOCATING stands for s. Where the runs were as long as the full one,
    nothing moves.
    """
    doublings = max(0.0, math.log2(steps / long.steps))
    measured, between = None, 1.0
    if short is not None and short.steps < long.steps:
        between = math.log2(long.steps / short.steps)
        measured = (long.x - short.x) / between
    chance = LOCATING if measured is None else math.sqrt(2) * LOCATING / between
    weighed = expected if measured is None else _weighed(measured, expected, chance)
    shift = max(-FARTHEST, min(FARTHEST, weighed * doublings))
    beyond = weighed * doublings - shift
    middle = long.middle(NEARLY)
    clear = long.off_the_cliff(middle) if doublings == 0 else middle
    return LrDrift(
        x=clear + shift,
        error=math.hypot(LOCATING, chance * doublings, beyond),
        per_doubling=measured,
        expected=expected,
        weighed=weighed,
        doublings=doublings,
        cut=beyond != 0,
        cliff=clear < middle,
    )


def _weighed(measured: float, expected: float, chance: float) -> float:
    spread = EXPECTED_SPREAD if expected else abs(measured)
    return expected + (measured - expected) * spread**2 / (spread**2 + chance**2)
