"""How the best rate moves with the length of the run, measured on runs of two lengths, and carried on to a third."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lrfinder.search.valley import Valley

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """The best rate at the full length: `x` = log10(rate), `error` its standard error in decades.

    `per_doubling` is the measured shift in decades each time the length doubles, `doublings` how many of them lie
    between the longest runs that were measured and the full length.
    """

    x: float
    error: float
    per_doubling: float
    doublings: float


def carried_on(short: Valley | None, long: Valley, steps: int) -> Drift:
    """Return where the lowest point of `long` lies for runs of `steps` updates, by the drift from `short` to `long`.

    d = (x_long - x_short) / log2(n_long / n_short)        measured, in decades per doubling
    x = m_long + w d log2(steps / n_long),    w = d^2 / (d^2 + s^2),    s = sqrt(2) LOCATING / log2(n_long / n_short)

    m_long is the middle of the rates whose longer runs ended within NEARLY of the best. w shrinks a drift that could be
    chance (s is its standard error); the whole shift is cut to FARTHEST, and what was cut off is added to the error, in
    quadrature.
    Without `short`, or where the runs were as long as the full one, nothing moves.
    """
    middle = long.middle(NEARLY)
    doublings = max(0.0, math.log2(steps / long.steps))
    if short is None or short.steps >= long.steps:
        return Drift(x=middle, error=math.hypot(LOCATING, LOCATING * doublings), per_doubling=0.0, doublings=doublings)
    between = math.log2(long.steps / short.steps)
    measured = (long.x - short.x) / between
    chance = math.sqrt(2) * LOCATING / between
    weight = measured**2 / (measured**2 + chance**2)
    whole = weight * measured * doublings
    shift = max(-FARTHEST, min(FARTHEST, whole))
    error = math.hypot(LOCATING, chance * doublings, whole - shift)
    return Drift(x=middle + shift, error=error, per_doubling=measured, doublings=doublings)
