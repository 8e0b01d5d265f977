"""Stay at the peak, then cool down at the end."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, Self

from pydantic import Field

from lrfinder.schedules.base import Schedule


def decay(u: int, length: int, *, cooldown: int, shape: str, final: float) -> float:
    """Return the peak, or the cooldown's value."""
    n = min(cooldown, length)
    into = u - (length - n)
    if into < 0 or n == 0:
        return 1.0
    x = into / n
    fallen = {"1-sqrt": math.sqrt(x), "linear": x, "cosine": (1 - math.cos(math.pi * x)) / 2}[shape]
    return final + (1 - final) * (1 - fallen)


class WarmupStableDecay(Schedule):
    """The peak, held until the last `cooldown` updates, which fall to `final` times the peak.

    factor(t) = 1                                        for u < D - n,    u = t - W, D = T - W, n = cooldown
    factor(t) = final + (1 - final) * g((u - D + n) / n)    after that

    g(x) is 1 - sqrt(x) for `shape` "1-sqrt" (default), 1 - x for "linear", (1 + cos(pi x)) / 2 for "cosine". A
    cooldown longer than the decay begins with it. Past the end `final` is held.

    WSD: Hu et al. (MiniCPM), arXiv:2404.06395, who find 10 % of the run enough; 1 - sqrt: Haegele et al.,
    arXiv:2405.18392. The stable part needs no length: a run can be cooled down at any time, and go on from before.
    """

    advice: ClassVar[str] = "runs whose length may change: train on at the peak, cool down when you stop"
    formula = staticmethod(decay)
    name: Literal["wsd"] = "wsd"
    cooldown: int = Field(ge=0)
    shape: Literal["1-sqrt", "linear", "cosine"] = "1-sqrt"
    final: float = Field(default=0.0, ge=0, le=1)

    @classmethod
    def for_run(cls, *, steps: int, warmup: int) -> Self:
        """Return a cooldown over the last fifth, as Haegele et al. take it."""
        return cls(steps=steps, warmup=warmup, cooldown=round(0.2 * (steps - warmup)))
