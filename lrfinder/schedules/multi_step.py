"""Multiply the rate by a factor at given updates."""

from __future__ import annotations

import bisect
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, field_validator

from lrfinder.schedules.base import Schedule, as_tuple
from lrfinder.schedules.epochs import refused_items


def decay(u: int, length: int, *, drop: float, milestones: tuple[int, ...]) -> float:
    """Return drop ** #{milestones <= u}, of the run's last update if u is past it."""
    return float(drop ** bisect.bisect_right(milestones, min(u, max(length - 1, 0))))


class MultiStep(Schedule):
    """Multiply the rate by `factor` at each of `milestones`, updates counted from the end of the warm-up.

    factor(t) = factor ** #{m in milestones: m <= u}        u = t - W, in updates

    Milestones are in ascending order, and one that is listed twice counts twice. `factor` (the attribute is `drop`) is
    above 0 and at most 1. Past the end the rate of the last update is held.

    torch's `MultiStepLR`, stepped once per update. Halves and quarters of the run with a tenth each is the recipe of
    Huang et al., arXiv:1608.06993.
    """

    advice: ClassVar[str] = "recipes that name the epochs at which the rate drops; set them in updates"
    formula = staticmethod(decay)
    name: Literal["multi-step"] = "multi-step"
    milestones: Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(as_tuple), Field(min_length=1)]
    drop: float = Field(alias="factor", gt=0, le=1)

    @field_validator("milestones")
    @classmethod
    def _ascending(cls, milestones: tuple[int, ...]) -> tuple[int, ...]:
        for index, (before, update) in enumerate(pairwise(milestones), start=1):
            if update < before:
                message = f"expected updates in ascending order, got {update} behind {before}"
                raise refused_items([((index,), message, update)])
        return milestones

    @classmethod
    def for_run(cls, *, steps: int, warmup: int) -> Self:
        """Return a tenth at half and at three quarters of the decay."""
        length = steps - warmup
        return cls(steps=steps, warmup=warmup, milestones=(max(1, length // 2), max(1, 3 * length // 4)), factor=0.1)
