"""What a peer's rule is given: the rates and raw losses of one sweep, paired the way the peers pair them."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache

from lrfinder.records import Trace

CACHED = 8  # repeats whose curves are kept from one rule to the next; of more, each is short


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerCurve:
    """`losses[i]` was measured before the update at rate `lrs[i]`; `steps` is the number of updates asked for.

    The losses are raw (not smoothed) and may be fewer than `steps`, if the sweep ended early.
    """

    lrs: tuple[float, ...]
    losses: tuple[float, ...]
    steps: int


@lru_cache(maxsize=CACHED)
def peer_curve(trace: Trace, *, steps: int) -> PeerCurve:
    """Return the sweep as a peer would have recorded it: each rate with the loss measured before its own update.

    A trace pairs rate i with the loss that follows update i. That loss is also the one before update i + 1, so

        peer's losses = (initial_loss, losses[0], ..., losses[n - 2])     with the rates lrs[0], ..., lrs[n - 1].

    The curve ends before the first loss that is not finite, for the peers disagree on what follows (some skip NaN,
    some pick a rate next to it). If the initial loss is not known (the run was killed), it starts with lrs[1], as a
    peer's sweep from there would have.
    """
    if trace.initial_loss is None:
        lrs, before = trace.lrs[1:], trace.losses
    else:
        lrs, before = trace.lrs, (trace.initial_loss, *trace.losses)
    losses = tuple(itertools.takewhile(math.isfinite, before[: len(lrs)]))
    return PeerCurve(lrs=lrs[: len(losses)], losses=losses, steps=steps)
