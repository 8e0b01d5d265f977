"""The schedule config: what is written by `recommend` and loaded by a training run."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Sized
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    field_validator,
)

from lrfinder.batch_growth.plan import Epoch, grow_batches, rates, stretches, whole_sizes
from lrfinder.errors import UsageError
from lrfinder.formatting import format_count, format_lr
from lrfinder.optimizers import LARGEST_INTEGER, check_name, check_setting, class_name, is_called, is_value
from lrfinder.records import Status
from lrfinder.schedules import AnySchedule, Schedule
from lrfinder.schedules.base import as_tuple, as_tuples
from lrfinder.schedules.epochs import refused_items

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lrfinder.batch_growth.sampler import BatchSchedule, Samples
    from lrfinder.scheduler import ConfiguredScheduler, Optimizer

# Version history. 1: the first.
VERSION: Final = 1

MOST_LISTED = 10_000_000  # rates at once: 2 GB while they are written


def _tuple_to_list(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _whole_version(value: Any) -> Any:
    """Refuse what Python takes for equal to 1: true and 1.0."""
    if isinstance(value, bool | float):
        raise ValueError(f"expected {VERSION}, got {json.dumps(value)}")  # noqa: TRY004 - pydantic wants a ValueError
    return value


def _setting(value: Any) -> Any:
    """Check a hyper-parameter's value: true or false, a finite number, text, or a list of finite numbers."""
    if is_value(value):
        return tuple(map(_plain, value)) if isinstance(value, list | tuple) else _plain(value)
    if isinstance(value, list | tuple):
        bad = [(index, item) for index, item in enumerate(value) if not is_value([item])]
        raise refused_items(((index,), f"expected a finite number, got {_shown(item)}", item) for index, item in bad)
    found = _shown(value)
    raise ValueError(f"expected true, false, a finite number, text, or a list of finite numbers, got {found}")


def _plain(value: Any) -> Any:
    """Return a number or a text as Python's own: NumPy's float64, which is one, prints as `np.float64(0.1)`."""
    if isinstance(value, bool):
        return value
    return str.__str__(value) if isinstance(value, str) else int(value) if isinstance(value, int) else float(value)


def _shown(value: Any) -> str:
    return json.dumps(value, default=str)[:60]


Rate = Annotated[float, Field(gt=0)]
Ratio = Annotated[float, Field(ge=0)]
Setting = Annotated[
    bool | int | float | str | tuple[float, ...], PlainValidator(_setting), PlainSerializer(_tuple_to_list)
]


class _Section(BaseModel):
    """A frozen record that repairs nothing: it refuses unknown keys, text for numbers, and NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class OptimizerConfig(_Section):
    """The optimizer whose rate this is.

    `lr` is the peak rate. `groups`, if there is more than one param group, holds each group's rate over `lr`;
    without it the ratios of the live optimizer's groups are kept. `settings` are the hyper-parameters that the rate
    was found with (`momentum`, `betas`, `weight_decay`, ...): a record for people and checks; nothing applies it.
    """

    name: Annotated[str, Field(min_length=1), AfterValidator(check_name)]
    lr: Rate
    groups: Annotated[tuple[Ratio, ...], BeforeValidator(as_tuple), Field(min_length=1)] | None = None
    settings: dict[Annotated[str, AfterValidator(check_setting)], Setting] = {}

    @field_validator("groups")
    @classmethod
    def _some_group_learns(cls, groups: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if groups is not None and not any(groups):
            raise ValueError("expected at least one ratio above 0: at 0 no param group would learn")
        return groups


class Evidence(_Section):
    """Where the rate comes from: a record for people, of which everything may be left out."""

    rule: str | None = None
    band: Annotated[tuple[Rate, Rate], BeforeValidator(as_tuple)] | None = None  # the trainable rates, low to high
    status: Annotated[Status, Field(strict=False)] | None = None  # lax: files hold the status as text
    why: str | None = None
    model: str | None = None
    run: str | None = None
    updates: Annotated[int, Field(ge=0, le=LARGEST_INTEGER)] | None = None
    torch: str | None = None
    lrfinder: str | None = None

    @field_validator("band")
    @classmethod
    def _low_to_high(cls, band: tuple[float, float] | None) -> tuple[float, float] | None:
        if band is not None and band[0] > band[1]:
            raise ValueError(f"expected the lower rate first, got {list(band)}")
        return band


class BatchConfig(_Section):
    """The batch that grows instead of the rate falling: its first `size`, an epoch's `samples`, the `cap`.

    `plan` says it epoch by epoch, as [epochs, batch size] in order: it follows from the rest, and is there for people.
    """

    size: int = Field(ge=1, le=LARGEST_INTEGER)
    samples: int = Field(ge=1, le=LARGEST_INTEGER)
    cap: int | None = Field(default=None, ge=1, le=LARGEST_INTEGER)
    plan: Annotated[tuple[tuple[int, int], ...], BeforeValidator(as_tuples)] | None = None


class ScheduleConfig(_Section):
    """A peak rate, the schedule that scales it, and the evidence for both.

    f(t) = optimizer.lr * schedule.factor(t)        the rate of update t = 0, 1, 2, ..., in the optimizer's own unit

    With `batch`, the batch grows instead, `batches(sampler)` drives a DataLoader, and f(t) is what is left to decay.
    """

    version: Annotated[Literal[1], BeforeValidator(_whole_version)] = VERSION
    optimizer: OptimizerConfig
    schedule: AnySchedule
    batch: BatchConfig | None = None
    evidence: Evidence | None = None

    @field_validator("batch")
    @classmethod
    def _batch_grows(cls, batch: BatchConfig | None, info: ValidationInfo) -> BatchConfig | None:
        schedule = info.data.get("schedule")
        if batch is None or schedule is None:  # what is wrong with the schedule is reported by itself
            return batch
        try:
            planned = stretches(_planned(schedule, batch))
        except UsageError as error:
            raise ValueError(str(error)) from None
        if batch.plan is not None and batch.plan != planned:
            raise ValueError("plan doesn't follow from the schedule and the other sizes; remove it")
        return batch

    @property
    def steps(self) -> int:
        """The length of the run, T, in updates."""
        return self.followed.steps

    @property
    def followed(self) -> Schedule:
        """The schedule that the rate follows: `schedule`, or what a growing batch leaves of it."""
        return self.schedule if self.batch is None else rates(self.schedule, _planned(self.schedule, self.batch))

    def rate(self, t: int) -> float:
        """Return f(t), the rate of update `t`; past the end it holds. Raises ValueError for a negative `t`."""
        return self.optimizer.lr * self.followed.factor(t)

    def batch_plan(self) -> tuple[Epoch, ...]:
        """Return batch size, factor and updates of every epoch; raise UsageError if the config has no `batch`."""
        if self.batch is None:
            raise UsageError("the config has no batch section", hint="write one with `lrfinder schedule batches`")
        return _planned(self.schedule, self.batch)

    def with_batches(self, *, samples: int, batch_size: int, cap: int | None = None) -> ScheduleConfig:
        """Return the config with a `batch` section and its plan; raises UsageError for sizes that make no sense."""
        samples, batch_size, cap = whole_sizes(samples, batch_size, cap)
        batch = BatchConfig.model_construct(size=batch_size, samples=samples, cap=cap)  # `grow_batches` judges them
        plan = stretches(_planned(self.schedule, batch))
        return self.model_copy(update={"batch": batch.model_copy(update={"plan": plan})})

    def batches(self, sampler: Samples) -> BatchSchedule:
        """Return the batch sampler whose batches grow: `DataLoader(data, batch_sampler=config.batches(sampler))`.

        `scheduler(optimizer)` then sets the rates that are left to decay. Raises UsageError if the config has no
        `batch`, or the sampler another number of samples.
        """
        from lrfinder.batch_growth.sampler import BatchSchedule

        self.batch_plan()
        section: Any = self.batch
        samples = len(sampler) if isinstance(sampler, Sized) else section.samples  # `BatchSchedule` refuses that one
        if samples != section.samples:
            raise UsageError(
                f"the sampler has {samples} samples, but the config's batches are planned for {section.samples}",
                hint="plan them again: `lrfinder schedule batches CONFIG --samples N --batch-size B`",
            )
        return BatchSchedule(sampler, self.schedule, batch_size=section.size, cap=section.cap)

    def loss_scale(self, t: int) -> float:
        """Return c(t) = f(t) / peak, to multiply the loss of update `t` by instead of decaying the rate.

        `(config.loss_scale(t) * loss).backward()` at the constant rate `optimizer.lr` is the same as the schedule for
        SGD without momentum and weight decay, and for nothing else: momentum keeps gradients at their old scale, weight
        decay is not scaled, clipping acts at another size, and Adam and its kind divide the gradient by its own size,
        so it does next to nothing there. The idea: Wei, arXiv:1905.00094, whose own decay functions differ.
        """
        return self.followed.factor(t)

    def lrs(self) -> tuple[float, ...]:
        """Return (f(0), ..., f(T - 1)). Raises UsageError for a run of more than MOST_LISTED updates."""
        schedule, peak = self.followed, self.optimizer.lr
        if schedule.steps > MOST_LISTED:
            hint = "`config.rate(t)` in Python gives any of them, and exports of code have no such limit"
            raise UsageError(f"{schedule.steps} rates are too many to list, at most {MOST_LISTED}", hint=hint)
        return tuple(peak * schedule.factor(t) for t in range(schedule.steps))

    def scheduler(
        self, optimizer: Optimizer, last_epoch: int = -1, *, record: str | os.PathLike[str] | None = None
    ) -> ConfiguredScheduler:
        """Return a torch `LRScheduler` that sets the rates of `optimizer` to f(t), times each param group's ratio.

        Call its `step()` after every update: after `optimizer.step()`. See `ConfiguredScheduler` for param groups,
        `last_epoch` and resuming. A `plateau` schedule also needs `observe(loss)` after every validation. `record`
        names a CSV file that takes the gradient's norm at each update, for `lrfinder schedule refine`.

        Warns if the optimizer is of another kind than the config's, whose rate says nothing about it. Raises
        ConfigError if `optimizer.groups` doesn't fit the live optimizer, UsageError if the schedule moves a momentum
        that it doesn't have.
        """
        from lrfinder.scheduler import scheduler_class

        schedule, name = self.followed, self.optimizer.name
        made = scheduler_class(schedule)(
            optimizer,
            peak=self.optimizer.lr,
            schedule=schedule,
            ratios=self.optimizer.groups,
            last_epoch=last_epoch,
            record=record,
        )
        if not is_called(optimizer, name):
            warnings.warn(
                f"the config's rate is for {name}, and this optimizer is {class_name(optimizer)}: a rate for one says "
                f"nothing about the other. Use {name}, or find the rate of this one",
                UserWarning,
                stacklevel=2,
            )
        return made

    def plot(self, path: str | os.PathLike[str] | None = None, *, ax: Axes | None = None) -> Figure:
        """Return a matplotlib figure of f(t), or draw it into `ax`; with `path` it is written there, too."""
        from lrfinder.report.schedule_figure import schedule_figure

        figure = schedule_figure({"": self}, ax)
        if path is not None:
            figure.savefig(path)
        return figure

    def __str__(self) -> str:
        shape, warmup = self.followed, ""
        if shape.warmup:
            warmup = f", the first {shape.warmup} of them warm-up"
        rate = f"the peak rate {format_lr(self.optimizer.lr)} for {self.optimizer.name}"
        return f"Schedule {shape.name} over {format_count(shape.steps, 'update')}{warmup}, at {rate}."

    def as_data(self) -> dict[str, Any]:
        """Return the config as the plain data that its file holds: nothing that was left out, lists for tuples."""
        data = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        if not self.optimizer.settings:
            del data["optimizer"]["settings"]
        return data


def _planned(schedule: Schedule, batch: BatchConfig) -> tuple[Epoch, ...]:
    return grow_batches(schedule, samples=batch.samples, batch_size=batch.size, cap=batch.cap)
