"""The data that the floors hand to each other: frozen, plain, comparable, and stored as they are.

Rates are in the optimizer's own unit (the reference rate: the one that `optimizer(params, lr)` was given);
"decades" are log10 of rates; a "step" is one optimizer update, counted from 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

# Unknown keys in a stored record are refused, not dropped: they would mean a newer or a damaged file.
_STRICT: dict[str, Any] = {"extra": "forbid"}

MIN_LR = 1e-6  # below every rate that a default optimizer trains at, with room to see the flat start of the curve
MAX_LR = 100.0  # plain SGD on normalised inputs trains at 10; the sweep stops by itself where the loss diverges
STEPS = 100  # 12 updates a decade over 8 decades; a longer sweep trains while it measures (depletion)
# On thirteen real tasks the best rate of 25 updates lies up to a decade from that of 400, that of 50 up to half a
# decade; five such runs and two repeats of a sweep stay near 400 updates.
RUN_STEPS = 50
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


class Stop(StrEnum):
    """Why a repeat ended. The first three are how a sweep should end; the others cut it short."""

    COMPLETED = "completed"  # every rate of the sweep was tried
    DIVERGED = "diverged"  # the loss rose clearly above where it began: no need to go on
    NON_FINITE = "non_finite"  # a loss was NaN or infinite
    OUT_OF_DATA = "out_of_data"  # a loader that can't be started again ran dry
    OUT_OF_TIME = "out_of_time"  # the time limit that the caller set
    INTERRUPTED = "interrupted"  # Ctrl-C, SIGINT
    TERMINATED = "terminated"  # SIGTERM
    FAILED = "failed"  # an exception: what was measured before it is kept


class Status(StrEnum):
    """How far a pick may be trusted."""

    CONFIDENT = "confident"
    UNCERTAIN = "uncertain"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How an update is made; the sweep and every short run make theirs in the same way, as the coming run should.

    An update takes `accumulate` batches of the loader: its gradient is the mean of theirs. The gradient's norm over all
    parameters is cut down to `clip_norm`, or each of its numbers to +-`clip_value`. Of several `optimizers`, `sweep` is
    the one whose rate is swept; the others hold their own rates, or with `scale_others` follow in proportion.

    Raises ValueError for what can't be meant.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

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

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One measurement, as it happens: the loss that follows update `step` at rate `lr` (see `Metric`)."""

    repeat: int
    step: int
    lr: float
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One repeat: `losses[i]` was measured right after the update at rate `lrs[i]`, so it shows what that rate did.

    `initial_loss` is the loss before the first update. Losses may be non-finite at the end (see `stop`).
    `updates` counts every optimizer update spent, also one whose loss could not be measured any more. `skipped` counts
    updates that the loss scaler left out, since the gradient overflowed: each was made again, on the next batch. Where
    memory ran out, the gradient of each batch was summed over `micro_batches` parts of it; `note` says so, for people.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    repeat: int
    seed: int
    initial_loss: float | None
    lrs: tuple[float, ...]
    losses: tuple[float, ...]
    stop: Stop
    updates: int
    why: str = ""  # a sentence on `stop`, for people
    skipped: int = 0
    micro_batches: int = 1
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """A short run to be made: `steps` updates from the start, under `schedule` compressed to that length.

    Runs with the same `repeat` begin from the same weights, optimizer state, generators and batches. `batches` says on
    how many different batches it trains, over and over (each of as many samples as an update takes); None: on all that
    come.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    lr: float  # the peak rate
    steps: int
    repeat: int = 0
    schedule: str = "linear"
    batches: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortRun:
    """A short run that was made: `loss` is what it reached, on data that it is judged by, and None where it failed to.

    `initial_loss` is the loss on the same data before the first update. `metric` says which data that is: "val", the
    val_loader, or "probe", batches of the train_loader that were set aside. `updates` were spent on it. `fresh`: it
    should have trained on the same batches over and over, but they were too large to be kept. `skipped`,
    `micro_batches` and `note`: as in Trace.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    plan: RunPlan
    seed: int
    metric: str
    initial_loss: float | None
    loss: float | None
    stop: Stop
    updates: int
    why: str = ""  # a sentence on `stop`, for people
    fresh: bool = False
    skipped: int = 0
    micro_batches: int = 1
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerFacts:
    """The optimizer that was swept: class name, its numeric defaults, and each group's rate over the reference rate."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    name: str
    settings: dict[
        str, bool | int | float | str | tuple[float, ...] | None
    ]  # e.g. {"momentum": 0.9, "betas": (0.9, 0.999)}
    group_ratios: tuple[float, ...] = (1.0,)
    default_lr: float | None = None  # the class's own default rate, where it has one
    chosen_by: str = "model file"  # or "option", "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What the curve was measured on. Curves may only be compared where this agrees."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    model: str
    parameters: int
    loss: str  # how the loss was found, e.g. "loss_fn CrossEntropyLoss", "cross-entropy (inferred: ...)"
    optimizer: OptimizerFacts
    batch_size: int | None  # samples of an update, `accumulate` batches; None where the loader doesn't say
    batches_per_epoch: int | None  # updates of a pass over the data; None where the loader has no length
    device: str
    torch: str
    python: str
    lrfinder: str
    cached_batches: int | None = None  # on so many batches, over and over; None: on all that came


# Which ending names the whole sweep, where its repeats ended differently: what cut it short comes first.
_TELLING = (
    Stop.FAILED,
    Stop.TERMINATED,
    Stop.INTERRUPTED,
    Stop.OUT_OF_TIME,
    Stop.OUT_OF_DATA,
    Stop.NON_FINITE,
    Stop.DIVERGED,
    Stop.COMPLETED,
)
_CUT_SHORT = frozenset({Stop.FAILED, Stop.TERMINATED, Stop.INTERRUPTED, Stop.OUT_OF_TIME, Stop.OUT_OF_DATA})


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepResult:
    """A finished (or interrupted) sweep: settings, setup, one trace per continuous repeat, and the short runs."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    settings: SweepSettings
    setup: Setup
    traces: tuple[Trace, ...]
    run: str | None = None  # the run folder, where there is one
    runs: tuple[ShortRun, ...] = ()

    @property
    def status(self) -> Stop:
        """How the sweep ended; where its parts ended differently, the ending that matters most.

        That a short run diverged is an answer, not an ending: only what cut the sweep short counts of those.
        """
        ends = {trace.stop for trace in self.traces} | {run.stop for run in self.runs if run.stop in _CUT_SHORT}
        if self.runs and not ends:
            return Stop.COMPLETED
        return next((stop for stop in _TELLING if stop in ends), Stop.INTERRUPTED)

    @property
    def lrs(self) -> tuple[tuple[float, ...], ...]:
        """The rates that were tried, one sequence per continuous repeat; without any, those of the short runs."""
        if self.runs and not self.traces:
            return (tuple(run.plan.lr for run in self.runs),)
        return tuple(trace.lrs for trace in self.traces)

    @property
    def losses(self) -> tuple[tuple[float, ...], ...]:
        """The loss after the update at each of `lrs`; of a short run what it reached, NaN where it didn't get there."""
        if self.runs and not self.traces:
            return (tuple(math.nan if run.loss is None else run.loss for run in self.runs),)
        return tuple(trace.losses for trace in self.traces)

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should know of how this was measured, each once."""
        said = [trace.note for trace in self.traces] + [run.note for run in self.runs]
        return tuple(dict.fromkeys(note for note in said if note))

    @property
    def updates(self) -> int:
        """Every optimizer update spent, over all repeats and short runs."""
        return sum(trace.updates for trace in self.traces) + sum(run.updates for run in self.runs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Loss as a smooth function of log10(rate), pooled over repeats, on a grid of rates.

    `low` and `high` bound the fitted loss pointwise (90 %, bootstrap). `slopes` is d loss / d log10(rate).
    `start` is the loss before anything was learned, `noise` the standard deviation of a single measurement,
    `bandwidth` the kernel's standard deviation in decades.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    lrs: tuple[float, ...]
    losses: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    slopes: tuple[float, ...]
    start: float
    noise: float
    bandwidth: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """A range of rates, with the interval of each end over repeats."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    low: float
    high: float
    low_interval: tuple[float, float] | None = None
    high_interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """What one rule says: a rate with its interval, or a refusal with the reason in `why` (then `lr` is None)."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    rule: str
    lr: float | None
    low: float | None
    high: float | None
    status: Status
    why: str
