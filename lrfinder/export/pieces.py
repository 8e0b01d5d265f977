"""Schedules taken apart, for frameworks that say them in pieces, or by a simpler name."""

from __future__ import annotations

from lrfinder.config import ScheduleConfig
from lrfinder.schedules import (
    Cosine,
    CosineRestarts,
    Exponential,
    Geometric,
    KDecay,
    Linear,
    MultiStep,
    Schedule,
    SlantedTriangular,
    Step,
)

_MOST_POWER = 10.0  # a higher one multiplies the rounding in the first updates to more than 1e-6
_MOST_GROWTH = 16.0  # half of 1e-6


def plain(config: ScheduleConfig) -> ScheduleConfig:
    """Return the config with the simplest shape that is the same schedule, as which frameworks know it."""
    it = config.schedule
    same: Schedule = it
    if isinstance(it, SlantedTriangular):
        least = 1 / it.ratio
        same = Linear(steps=it.steps, warmup=it.cut, warmup_start=least if it.cut else None, final=least)
    if isinstance(it, KDecay) and it.k == 1:
        same = Cosine(steps=it.steps, warmup=it.warmup, warmup_start=it.warmup_start, final=it.final)
    return config.model_copy(update={"schedule": same})


def power_in_float32(power: float, over: int) -> bool:
    """Tell whether (1 - u / over) ** power is within 1e-6 of itself in single precision, for every u below `over`.

    The rounding of 1 - u / over, 2 ** -25, grows to about power * over ** (1 - power) as much, in the last update.
    """
    return power <= _MOST_POWER and power * over ** (1 - power) <= _MOST_GROWTH


def interval(it: Schedule) -> tuple[int, float] | None:
    """Return every how many updates the rate drops, counted from the end of the warm-up, and to what share; or None."""
    if isinstance(it, Step):
        return it.every, it.drop
    if isinstance(it, Exponential) and it.staircase:
        return it.every, it.base
    return None


def drops(it: Schedule) -> tuple[list[int], float] | None:
    """Return the updates after the warm-up at which the rate drops to the same share each time, and the share; or None.

    An update that is listed twice counts twice; 0 is a drop at the warm-up's end.
    """
    if isinstance(it, MultiStep):
        return list(it.milestones), it.drop
    if isinstance(it, Geometric):
        length = it.steps - it.warmup
        phases = max(1, length.bit_length() - 1)
        # The first u with u * phases // length >= phase.
        starts = [-(-phase * length // phases) for phase in range(1, phases)]
        updates = [0] * it.halved_first + starts
        return (updates, 0.5) if updates else None
    return None


def cycles(it: CosineRestarts) -> tuple[int, list[int] | None]:
    """Return how many cycles the run begins, and their lengths in updates, None if one isn't whole.

    Equal cycles have one length in the list: there may be millions of them.
    """
    decay = max(it.steps - it.warmup, 1)
    if it.growth == 1:
        return -(-decay // it.first), [it.first]
    lengths: list[int] = []
    length = float(it.first)
    while sum(lengths) < decay:
        if not length.is_integer():
            return 0, None
        lengths.append(int(length))
        length *= it.growth
    return len(lengths), lengths
