"""Multiply the rate by a factor every so many updates."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, Self

from pydantic import Field

from lrfinder.schedules.base import Schedule


def decay(u: int, length: int, *, drop: float, every: int) -> float:
    """Return drop ** floor(u / every), of the run's last update if u is past it."""
    # A power, not a product of drops: the result doesn't depend on how one got there.
    return float(drop ** (min(u, max(length - 1, 0)) // every))


class Step(Schedule):
    """Multiply the rate by `factor` every `every` updates, counted from the end of the warm-up.

    factor(t) = factor ** floor(u / every)        u = t - W, in updates

    `factor` (the attribute is `drop`; the config's key and the argument are `factor`) is above 0 and at most 1;
    0.5 and 0.1 are the classic ones. To drop every k epochs, set `every` to k times the updates of one epoch.
    Past the end the rate of the last update, t = T - 1, is held: a drop that falls on t = T was never part of the run.

    torch's `StepLR`, stepped once per update.
    """

    advice: ClassVar[str] = "recipes that are known to work with drops, such as image models trained with SGD"
    formula = staticmethod(decay)
    name: Literal["step"] = "step"
    every: int = Field(ge=1)
    drop: float = Field(alias="factor", gt=0, le=1)

    @classmethod
    def for_run(cls, *, steps: int, warmup: int) -> Self:
        """Return a tenth after each third of the decay: the recipe of He et al., arXiv:1512.03385, for image models."""
        return cls(steps=steps, warmup=warmup, every=max(1, math.ceil((steps - warmup) / 3)), factor=0.1)
