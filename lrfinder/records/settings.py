"""What is swept, and how an update is made."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar

from lrfinder.options import (
    MAX_LR,
    MIN_LR,
    MIN_RUN_STEPS,
    MOST_REPEATS,
    MOST_STEPS,
    PER_DECADE,
    REPEATS,
    RUN_STEPS,
    STEPS,
    Graph,
    Metric,
    Mode,
    Precision,
    Spacing,
    Strategy,
)
from lrfinder.records.given import convert_numbers
from lrfinder.records.strict import STRICT

LONG = 2.0  # times PER_DECADE; so long a sweep uses up the loss too early: rules/README.md#long
LEAST_SHORT = 25  # updates, of two decades; a sweep of fewer ends before it has begun to fall


def _stored_key(field: str) -> str:
    """Return the key of a field of UpdateOptions in run.json: format version 3 to 5 were written with `sweep`."""
    return "sweep" if field == "swept_optimizer" else field


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateOptions:
    """How an update is made; the sweep and every short run make theirs in the same way, as the coming run should.

    An update takes `accumulate` batches of the loader: its gradient is the mean of theirs. The gradient's norm over all
    parameters is cut down to `clip_norm`, or each of its numbers to +-`clip_value`. Of several `optimizers`,
    the rate of `swept_optimizer` is swept; the others hold their own rates, or follow in proportion with
    `scale_others`. With `graph` updates are recorded on a GPU. Run folders keep `swept_optimizer` as `sweep`.

    Numbers become Python's own, as those of SweepSettings. Raises ValueError for what can't be meant.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {**STRICT, "alias_generator": _stored_key}

    precision: Precision = Precision.AUTO
    accumulate: int = 1
    clip_norm: float | None = None
    clip_value: float | None = None
    swept_optimizer: str | None = None
    scale_others: bool = False
    graph: Graph = Graph.OFF
    strategy: Strategy = Strategy.DDP  # of several processes

    def __post_init__(self) -> None:
        convert_numbers(self)
        if self.accumulate < 1:
            raise ValueError(f"accumulate must be at least 1, got {self.accumulate}")
        if self.accumulate > MOST_STEPS:
            raise ValueError(f"accumulate must be at most {MOST_STEPS}, got {self.accumulate}")
        for name, value in (("clip_norm", self.clip_norm), ("clip_value", self.clip_value)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be a finite number above 0, got {value}")
        if self.clip_norm is not None and self.clip_value is not None:
            raise ValueError(
                f"clip_norm ({self.clip_norm:g}) and clip_value ({self.clip_value:g}) can't both be given: each would "
                "clip what the other left"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSettings:
    """What to sweep: rates from `min_lr` to `max_lr` in `steps` updates, `repeats` times; short runs of `run_steps`.

    lr_i = min_lr * (max_lr / min_lr) ** (i / (steps - 1))     for spacing `exp`
    lr_i = min_lr + (max_lr - min_lr) * i / (steps - 1)        for spacing `linear`,   i = 0 ... steps - 1

    Numbers of other types, such as NumPy's, become Python's; a float counts as a whole number if it is whole.

    Raises ValueError, with the parameter, its bound and the value, for anything that can't be swept.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    min_lr: float = MIN_LR
    max_lr: float = MAX_LR
    steps: int = STEPS
    repeats: int = REPEATS
    spacing: Spacing = Spacing.EXP
    mode: Mode = Mode.AUTO
    run_steps: int = RUN_STEPS
    metric: Metric = Metric.TRAIN
    cache_batches: int | None = None  # train on so many batches over and over; None: on all that come
    seed: int = 0
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        convert_numbers(self)
        if not (math.isfinite(self.min_lr) and self.min_lr > 0):
            raise ValueError(f"min_lr must be a finite number above 0, got {self.min_lr}")
        if not (math.isfinite(self.max_lr) and self.max_lr > self.min_lr):
            raise ValueError(f"max_lr must be a finite number above min_lr ({self.min_lr:g}), got {self.max_lr}")
        if not math.isfinite(self.max_lr / self.min_lr):
            raise ValueError(f"max_lr ({self.max_lr:g}) is too many times min_lr ({self.min_lr:g}) for a number")
        for name, least, most in (
            ("steps", 2, MOST_STEPS),
            ("run_steps", MIN_RUN_STEPS, MOST_STEPS),
            ("repeats", 1, MOST_REPEATS),
        ):
            value = getattr(self, name)
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
            if value > most:
                raise ValueError(f"{name} must be at most {most}, got {value}")
        if self.cache_batches is not None and not 1 <= self.cache_batches <= MOST_STEPS:
            raise ValueError(f"cache_batches must be from 1 to {MOST_STEPS}, got {self.cache_batches}")
        if not 0 <= self.seed < 2**32:  # NumPy's seeds end there
            raise ValueError(f"seed must be from 0 to 2**32 - 1, got {self.seed}")
        if self.max_seconds is not None and not 0 < self.max_seconds < math.inf:
            raise ValueError(f"max_seconds must be a finite number above 0, got {self.max_seconds}")

    def lrs(self) -> tuple[float, ...]:
        """Return the rate of every update; the first and the last are exactly `min_lr` and `max_lr`."""
        last = self.steps - 1
        if self.spacing is Spacing.LINEAR:
            inner = [self.min_lr + (self.max_lr - self.min_lr) * i / last for i in range(1, last)]
        else:
            inner = [self.min_lr * (self.max_lr / self.min_lr) ** (i / last) for i in range(1, last)]
        return (self.min_lr, *inner, self.max_lr)

    def short(self) -> SweepSettings | None:
        """Return the settings of the short sweeps that are made beside a long one; None if it isn't long.

        Over the same rates, with PER_DECADE updates a decade instead of LONG times as many or more. Only if the mode
        is `auto`, which may measure what it wasn't asked for, and the spacing `exp`: only there are all decades alike.
        """
        steps = round(PER_DECADE * math.log10(self.max_lr / self.min_lr))
        if self.mode is not Mode.AUTO or self.spacing is not Spacing.EXP:
            return None
        if steps < LEAST_SHORT or self.steps < LONG * steps:
            return None
        return dataclasses.replace(self, steps=steps)
