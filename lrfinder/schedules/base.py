"""What every schedule shares: the warm-up, the length of the run, and what happens past its end."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cached_property, partial
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)

from lrfinder.optimizers import LARGEST_INTEGER
from lrfinder.schedules.epochs import WRONG, in_updates, no_epochs

# A hundred times the longest published training runs; past it, a mistyped number would fill memory with rates.
MAX_STEPS = 100_000_000


def as_tuple(value: Any) -> Any:
    """Files have lists where the frozen record has tuples; anything else is judged as it is."""
    return tuple(value) if isinstance(value, list) else value


def as_tuples(value: Any) -> Any:
    """Do the same with the items of a list or a tuple."""
    return tuple(map(as_tuple, value)) if isinstance(value, list | tuple) else value


def _low_first(momentums: tuple[float, float] | None) -> tuple[float, float] | None:
    if momentums is not None and momentums[0] > momentums[1]:
        raise ValueError(f"expected the lower momentum first, got {list(momentums)}")
    return momentums


_Momentum = Annotated[float, Field(ge=0, lt=1)]
# The lowest and the highest momentum, of the shapes that move it against the rate; None: it is left as it is.
Momentums = Annotated[tuple[_Momentum, _Momentum] | None, BeforeValidator(as_tuple), AfterValidator(_low_first)]


def rise(t: int, *, warmup: int, start: float | None) -> float:
    """Return the factor of update t of the warm-up: (t + 1) / warmup, or a line that begins at `start`."""
    return (t + 1) / warmup if start is None else start + (1 - start) * t / warmup


class Schedule(BaseModel):
    """A learning-rate schedule as a pure function of the update index: `factor(t)`, in multiples of the peak rate.

    t = 0, 1, 2, ... is the 0-based index of the optimizer update that uses the rate. With W = `warmup` and
    T = `steps` (both in updates, T counts the warm-up too), D = T - W and u = t - W:

        factor(t) = (t + 1) / W        for t < W: linear, update W - 1 is the first at the peak
                    s + (1 - s) t / W  if `warmup_start` = s is given: update W is the first at the peak
        factor(t) = decay(u, D)        for W <= t < T: the shape's own formula, mostly with decay(0, D) = 1
        factor(t) = decay(D, D)        for t >= T: held, so that training on never raises the rate or fails

    Any length may be given as text such as "30 epochs", if `epoch` says how many updates one has; it is kept in
    updates. A field of whole numbers is a length, unless `in_evaluations` names it.

    The end is open: what the formula reaches at t = T is used by no update of the run itself.
    If W = T there is no decay, and the peak is held past the end.

    Linear warm-up: Goyal et al., arXiv:1706.02677. It begins at 1/W, not at 0: an update at rate 0 is a wasted one.
    `warmup_start` is for being exact with what begins elsewhere: 0 in transformers, optax, Keras and torchtune.

    A subclass is one file: the parameters as fields, `name`, `advice`, and the `formula`, a function of plain numbers,
    decay(u, length, *, ...), whose keywords without a default are named as the fields (or properties) that they take.
    `lrfinder schedule export` prints its source, so it may use `math` and the functions and numbers of its own file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    advice: ClassVar[str]  # one line on when to use it
    rises_itself: ClassVar[bool] = False  # such a shape starts below the peak and takes no warm-up
    reads_losses: ClassVar[bool] = False  # such a shape is cut by validation losses, and no function of t alone
    can_be_shortened: ClassVar[bool] = True  # whether `for_run` is the same shape at another length, for trials
    in_evaluations: ClassVar[frozenset[str]] = frozenset()  # its whole numbers that count these, and not updates
    formula: ClassVar[Callable[..., float]]
    _takes: ClassVar[tuple[str, ...]] = ()  # the keywords of the formula
    name: str = ""  # each shape gives its own
    epoch: int | None = Field(default=None, ge=1, le=MAX_STEPS)
    warmup: int = Field(default=0, ge=0)
    warmup_start: float | None = Field(default=None, ge=0, le=1)
    steps: int = Field(ge=1, le=MAX_STEPS)

    @field_validator("*", mode="wrap")
    @classmethod
    def _from_epochs(cls, value: Any, check: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        if info.field_name in {"name", "epoch"}:
            return check(value)
        if info.field_name in cls.in_evaluations:
            return check(no_epochs(value))
        return in_updates(value, check, info.data.get("epoch", WRONG))

    @field_validator("*")
    @classmethod
    def _in_64_bits(cls, value: Any) -> Any:
        if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
            raise ValueError(f"expected a whole number of at most {LARGEST_INTEGER}")
        return value

    @field_validator("steps")
    @classmethod
    def _warmup_fits(cls, steps: int, info: ValidationInfo) -> int:
        warmup = info.data.get("warmup", 0)
        if steps < warmup:
            raise ValueError(f"expected at least warmup ({warmup}), got {steps}: the warm-up would outlast the run")
        return steps

    @field_validator("warmup")
    @classmethod
    def _one_rise(cls, warmup: int) -> int:
        if warmup and cls.rises_itself:
            raise ValueError(f"expected 0, got {warmup}: this schedule has a rise of its own")
        return warmup

    @field_validator("warmup_start")
    @classmethod
    def _start_of_something(cls, start: float | None, info: ValidationInfo) -> float | None:
        if start is not None and info.data.get("warmup", 1) == 0:
            raise ValueError(f"expected a warm-up that starts at {start:g}: add `warmup`, or leave this out")
        return start

    @classmethod
    def for_run(cls, *, steps: int, warmup: int) -> Self:
        """Return the shape with its usual parameters for a run of `steps` updates, `warmup` of them warm-up."""
        return cls(steps=steps, warmup=warmup)

    def factor(self, t: int) -> float:
        """Return the rate of update `t` (0-based) over the peak rate; raise ValueError for a negative `t`."""
        if t < 0:
            raise ValueError(f"t must be an update index of at least 0, got {t}")
        if t < self.warmup:
            return rise(t, warmup=self.warmup, start=self.warmup_start)
        return self.decay(min(t, self.steps) - self.warmup, self.steps - self.warmup)

    def momentum(self, t: int) -> float | None:  # noqa: ARG002 - the shapes that move it read it
        """Return the momentum of update `t`, where the shape moves it too; None: as the optimizer has it."""
        return None

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Note which of its fields the formula takes."""
        super().__pydantic_init_subclass__(**kwargs)
        parameters = inspect.signature(cls.formula).parameters.values()
        cls._takes = tuple(it.name for it in parameters if it.kind is it.KEYWORD_ONLY and it.default is it.empty)

    def arguments(self) -> dict[str, Any]:
        """Return what the formula takes by keyword."""
        return {name: getattr(self, name) for name in self._takes}

    @cached_property
    def decay(self) -> Callable[[int, int], float]:
        """The formula with this schedule's parameters: `(u, length)` gives the factor u updates after the warm-up.

        0 <= u <= length; `length` is 0 if nothing follows the warm-up. Kept, since every update asks for it.
        """
        return partial(self.formula, **self.arguments())

    def __copy__(self) -> Self:
        """Return a copy without what is kept: `model_copy` gives it other parameters."""
        copied = super().__copy__()
        copied.__dict__.pop("decay", None)
        return copied
