"""What is swept, and how an update is made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

from lrfinder.records.strict import STRICT

MIN_LR = 1e-6  # below every rate that a default optimizer trains at, with room to see the flat start of the curve
MAX_LR = 100.0  # plain SGD on normalised inputs trains at 10; the sweep stops by itself where the loss diverges
STEPS = 100  # 12 updates a decade over 8 decades; a longer sweep trains while it measures (depletion)
# On thirteen real tasks the best rate of 25 updates lies up to a decade from that of 400, that of 50 up to half a
# decade, that of 75 up to a quarter; three such runs and two repeats of a sweep stay near 400 updates.
RUN_STEPS = 75
MIN_RUN_STEPS = 10  # fewer updates see little but the warm-up
LOADER_TIMEOUT = 120.0  # seconds; batches that slow are rare, and a training that hangs is better told of soon
# A file from elsewhere must not fill the memory with rates: a range test of a million updates is none any more.
MOST_STEPS = 1_000_000
MOST_REPEATS = 1_000
REPEATS = 2  # the fewest whose spread says anything; short runs say the rest (three alone scatter by 0.04, two by 0.05)


class Spacing(StrEnum):
    """How the rate grows from update to update."""

    EXP = "exp"
    LINEAR = "linear"


class Mode(StrEnum):
    """How rates share weights.

    `continuous` trains on while the rate grows; `restart` gives every rate a short run of its own from the same
    weights, optimizer state and batches; `auto` begins continuously, then restarts around what that found, or over the
    whole range where it found nothing.
    """

    CONTINUOUS = "continuous"
    RESTART = "restart"
    AUTO = "auto"


class Metric(StrEnum):
    """Which loss the continuous sweep records after each update.

    `train` is that of the next training batch, `probe` that of a batch of the train_loader that was set aside before
    training, `val` the mean over the first batches of the val_loader. The last two are computed in evaluation mode, on
    the same batches and with the same draws for every rate.
    """

    TRAIN = "train"
    PROBE = "probe"
    VAL = "val"


class Precision(StrEnum):
    """The numbers that the loss is computed in.

    `auto`: as the model and its code do it, nothing is changed. `fp32` computes without autocast, also where the caller
    has switched it on; `bf16` and `fp16` with it. With `fp16` the loss is scaled up for the backward pass.
    """

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How an update is made; the sweep and every short run make theirs in the same way, as the coming run should.

    An update takes `accumulate` batches of the loader: its gradient is the mean of theirs. The gradient's norm over all
    parameters is cut down to `clip_norm`, or each of its numbers to +-`clip_value`. Of several `optimizers`, `sweep` is
    the one whose rate is swept; the others hold their own rates, or with `scale_others` follow in proportion.

    Raises ValueError for what can't be meant.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    precision: Precision = Precision.AUTO
    accumulate: int = 1
    clip_norm: float | None = None
    clip_value: float | None = None
    sweep: str | None = None
    scale_others: bool = False

    def __post_init__(self) -> None:
        if self.accumulate < 1:
            raise ValueError(f"accumulate must be at least 1, got {self.accumulate}")
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
        if not (math.isfinite(self.min_lr) and self.min_lr > 0):
            raise ValueError(f"min_lr must be a finite number above 0, got {self.min_lr}")
        if not (math.isfinite(self.max_lr) and self.max_lr > self.min_lr):
            raise ValueError(f"max_lr must be a finite number above min_lr ({self.min_lr:g}), got {self.max_lr}")
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
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise ValueError(f"max_seconds must be above 0, got {self.max_seconds}")

    def lrs(self) -> tuple[float, ...]:
        """Return the rate of every update; the first and the last are exactly `min_lr` and `max_lr`."""
        last = self.steps - 1
        if self.spacing is Spacing.LINEAR:
            inner = [self.min_lr + (self.max_lr - self.min_lr) * i / last for i in range(1, last)]
        else:
            inner = [self.min_lr * (self.max_lr / self.min_lr) ** (i / last) for i in range(1, last)]
        return (self.min_lr, *inner, self.max_lr)
