"""Half a cosine wave again and again, each from a fresh start."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, Self

from pydantic import Field

from lrfinder.schedules.base import Schedule


def decay(u: int, length: int, *, first: int, growth: float, shrink: float, final: float) -> float:
    """Return the wave of the cycle that u lies in."""
    u = min(u, max(length - 1, 0))
    cycle = u // first if growth == 1 else _cycle(u, first, growth)
    behind = u - cycle * first if growth == 1 else u - _start(cycle, first, growth)
    top = max(shrink**cycle, final)
    wave = (1 + math.cos(math.pi * behind / (first * growth**cycle))) / 2
    return final + (top - final) * wave


def _cycle(u: int, first: int, growth: float) -> int:
    """Return the number of the cycle that u lies in."""
    # Cycle i starts at first * (growth ** i - 1) / (growth - 1). The logarithm may miss by one if u is a start.
    cycle = int(math.log1p(u * (growth - 1) / first) / math.log(growth))
    while _start(cycle + 1, first, growth) <= u:
        cycle += 1
    while _start(cycle, first, growth) > u:
        cycle -= 1
    return cycle


def _start(cycle: int, first: int, growth: float) -> float:
    """Return the update at which a cycle starts, to a millionth: whole growths give whole starts."""
    more = growth - 1
    return float(round(first * math.expm1(cycle * math.log1p(more)) / more, 6))


class CosineRestarts(Schedule):
    """Cycles of half a cosine wave: cycle i lasts first * growth ** i updates and starts at shrink ** i of the peak.

    factor(t) = final + (shrink ** i - final) * (1 + cos(pi * v / n_i)) / 2,    n_i = first * growth ** i

    i is the cycle that update u = t - W lies in, v how many updates it lies behind the cycle's start. `growth` is at
    least 1 (default 2), `shrink` above 0 and at most 1 (default 1), `final` the floor, 0 ... 1 (default 0); a cycle
    whose start would lie below the floor stays at it. Past the end the rate of the last update is held: a restart
    there would undo the run.

    SGDR: Loshchilov & Hutter, arXiv:1608.03983. torch's `CosineAnnealingWarmRestarts` (T_0 = first, T_mult = growth),
    Keras's `CosineDecayRestarts` (t_mul = growth, m_mul = shrink).
    """

    advice: ClassVar[str] = "taking a model out at the end of any cycle, for ensembles or an open-ended run"
    formula = staticmethod(decay)
    name: Literal["cosine-restarts"] = "cosine-restarts"
    first: int = Field(ge=1)
    growth: float = Field(default=2.0, ge=1, le=1000)
    shrink: float = Field(default=1.0, gt=0, le=1)
    final: float = Field(default=0.0, ge=0, le=1)

    @classmethod
    def for_run(cls, *, steps: int, warmup: int) -> Self:
        """Return three cycles, each twice as long as the one before, the last of which ends with the run."""
        return cls(steps=steps, warmup=warmup, first=max(1, math.ceil((steps - warmup) / 7)))
