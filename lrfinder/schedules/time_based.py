"""Divide the rate by a number that grows with time."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, Self

from pydantic import Field

from lrfinder.schedules.base import Schedule

_FEW = 64  # periods: multiplied out; beyond, Euler and Maclaurin's formula is exact to 1e-9
_SLIGHT = 1e-4  # k n, below which three powers of it are exact to 1e-12 and the integral would cancel
_LARGE = 0.05  # rates from which a product reaches zero before its factors grow many


def decay(u: int, length: int, *, rate: float, every: int, compounded: bool) -> float:  # noqa: ARG001 - it needs none
    """Return 1 / (1 + rate * n), or the product over every period."""
    n = u // every
    return _product(rate, n) if compounded else 1 / (1 + rate * n)


def _product(k: float, n: int) -> float:
    """Return prod_{i=1..n} 1 / (1 + k i), in as few operations for a million periods as for a hundred."""
    begin = min(n, _FEW) if k >= _LARGE or n <= _FEW else 0
    found = 1.0
    for i in range(1, begin + 1):
        found /= 1 + k * i
    if begin == n or found == 0:
        return found
    if k * n < _SLIGHT:
        pairs = n * (n + 1) / 2
        return math.exp(-(k * pairs - k**2 * pairs * (2 * n + 1) / 6 + k**3 * pairs**2 / 3))
    # ln of the rest is -sum log1p(k i): Euler and Maclaurin turn the sum into an integral and its end corrections.
    return found * math.exp(_summed(k, begin) - _summed(k, n))


def _summed(k: float, n: int) -> float:
    """Return the sum of log1p(k i) up to i = n, but for what is the same for every n."""
    last = 1 + k * n
    slope = k / last
    return (last * math.log1p(k * n) - k * n) / k + math.log1p(k * n) / 2 + slope / 12 - 2 * slope**3 / 720


class TimeBased(Schedule):
    """The peak over 1 + k n, n the number of periods of `every` updates that are over.

    factor(t) = 1 / (1 + k n)                       n = floor(u / every), u = t - W, in updates
    factor(t) = 1 / prod_{i=1..n} (1 + k i)         with `compounded`

    k is `rate`, per period. With `every` = 1 (default) this is the `decay` of Keras's former optimizers, which counts
    updates, and today's `InverseTimeDecay(decay_steps=1)`; with the updates of one epoch it decays per epoch.

    `compounded` is what comes out where a training script applies lr = lr / (1 + decay * epoch) to the rate it has,
    not to the first one: with a peak of 0.1 and k = 0.001 it gives 0.1, 0.0999, 0.0997, 0.0994, 0.0990, where the plain
    formula gives 0.1, 0.0999, 0.0998, 0.0997, 0.0996. It falls far faster: as exp(-k n^2 / 2) against 1 / (k n).

    The rate never reaches zero. Past the end it is held.
    """

    advice: ClassVar[str] = "reproducing older Keras results; for a run of known length linear ends lower"
    formula = staticmethod(decay)
    name: Literal["time-based"] = "time-based"
    rate: float = Field(ge=0)
    every: int = Field(default=1, ge=1)
    compounded: bool = False

    @classmethod
    def for_run(cls, *, steps: int, warmup: int) -> Self:
        """Return a decay to a tenth of the peak over the run."""
        return cls(steps=steps, warmup=warmup, rate=9 / max(1, steps - warmup))
