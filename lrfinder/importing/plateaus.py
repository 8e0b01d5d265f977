"""torch's `ReduceLROnPlateau` as our plateau, by its arguments alone: its rates wait for losses."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from lrfinder.errors import UsageError
from lrfinder.importing.match import shape
from lrfinder.schedules import Schedule


class PlateauArguments(BaseModel):
    """The arguments of `ReduceLROnPlateau`, with torch's defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    mode: Literal["min", "max"] = "min"
    factor: float = Field(default=0.1, gt=0, lt=1)
    patience: int = Field(default=10, ge=0)
    threshold: float = Field(default=1e-4, ge=0)
    threshold_mode: Literal["rel", "abs"] = "rel"
    cooldown: int = Field(default=0, ge=0)
    min_lr: float = Field(default=0.0, ge=0)
    eps: float = Field(default=1e-8, ge=0)


def plateau(arguments: PlateauArguments, *, peak: float, steps: int) -> Schedule:
    """Return our plateau, which cuts at the same evaluations to the same rates from `peak`.

    torch leaves a cut out that would lower the rate by `eps` or less: the rate from which that is so is the floor.
    Raises UsageError for a metric that should rise: ours waits for a loss.
    """
    if arguments.mode != "min":
        raise UsageError(
            "ReduceLROnPlateau with mode 'max' waits for a metric to rise; a plateau here waits for a loss to fall",
            hint="negate the metric, and use mode 'min'",
        )
    lowest = max(_too_small_a_cut(arguments, peak), _at_min_lr(arguments, peak))
    made = shape(
        "plateau",
        steps=steps,
        factor=arguments.factor,
        patience=arguments.patience,
        threshold=arguments.threshold,
        mode="relative" if arguments.threshold_mode == "rel" else "absolute",
        cooldown=arguments.cooldown,
        floor=min(1.0, lowest / peak),
    )
    if made is None:
        raise UsageError(f"these arguments are no plateau: {arguments}", hint="check the factor, and that steps fits")
    return made


def _too_small_a_cut(arguments: PlateauArguments, peak: float) -> float:
    """Return the first rate peak * factor ** k whose own cut would be `eps` or less; 0 if there is no `eps`."""
    factor, cut = arguments.factor, peak * (1 - arguments.factor)
    if arguments.eps == 0:
        return 0.0
    # The logarithm may miss by one if the cut is just `eps`.
    k = max(0, math.floor(math.log(arguments.eps / cut) / math.log(factor)) - 1)
    while cut * factor**k > arguments.eps:
        k += 1
    return float(peak * factor**k)


def _at_min_lr(arguments: PlateauArguments, peak: float) -> float:
    """Return the lowest rate that `min_lr` allows: itself, or the last one above it, where the way there is `eps`."""
    factor, least = arguments.factor, arguments.min_lr
    if least == 0 or least >= peak:
        return least
    k = max(0, math.floor(math.log(least / peak) / math.log(factor)) - 1)
    while peak * factor ** (k + 1) >= least:
        k += 1
    last = float(peak * factor**k)
    return last if last - least <= arguments.eps else least
