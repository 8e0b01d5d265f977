"""The rate of a run that keeps it constant, from the pick for one that decays."""

from __future__ import annotations

import dataclasses

from lrfinder.advice.choice import choose
from lrfinder.formatting import format_lr
from lrfinder.records import OptimizerFacts, Pick, Status

CONSTANT = "constant"  # the name of the shape, and of the rule
# The best constant rate over the best one of a run that decays, and where it lies in nine of ten tasks:
# tests/benchmarks/README.md#a-rate-that-is-kept-constant
SHARE, LEAST, MOST = 0.5, 0.18, 1.07


def for_constant(pick: Pick, optimizer: OptimizerFacts) -> Pick:
    """Return the pick for a run that keeps its rate: SHARE of one that was measured in runs that decay, uncertain.

    Its interval is as much wider as that share is unknown. Optimizers to which a decay does no good keep the pick.
    """
    if pick.lr is None or choose(optimizer).name == CONSTANT:
        return pick
    why = (
        f"half of {format_lr(pick.lr)}, which is for a run that decays: in nine of ten tasks the best constant rate is "
        f"{LEAST:g} to {MOST:g} times the best decaying one, and `lrfinder verify --schedule constant` finds it"
    )
    low, high = pick.low or pick.lr, pick.high or pick.lr
    return dataclasses.replace(
        pick, rule=CONSTANT, lr=SHARE * pick.lr, low=LEAST * low, high=MOST * high, status=Status.UNCERTAIN, why=why
    )
