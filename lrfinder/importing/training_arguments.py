"""Hugging Face's `TrainingArguments` as a schedule config: the object, a mapping, or what a file holds."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from lrfinder.config import Evidence, OptimizerConfig, ScheduleConfig
from lrfinder.config.document import Document, Problem
from lrfinder.config.problems import explain
from lrfinder.errors import UsageError
from lrfinder.importing.axolotl import in_own_names, mark_of, refuse_own, training_arguments
from lrfinder.importing.huggingface_optimizers import DEFAULT, optimizer_class, optimizer_settings
from lrfinder.importing.huggingface_rates import FORMULAS, GREEDY, PLATEAU, Formula, Run
from lrfinder.importing.keys import check_keys, names_the_rate
from lrfinder.importing.match import MOST_UPDATES, Candidate, Match, check_peak, check_rates, check_updates, match
from lrfinder.importing.plateaus import PlateauArguments, plateau
from lrfinder.importing.recognize import recognized
from lrfinder.importing.unfit import UnfitError
from lrfinder.importing.why import why_shape
from lrfinder.schedules import Schedule
from lrfinder.version import VERSION

_KEYWORDS = "lr_scheduler_kwargs"
_ALSO_READ = ("jagged_restart_steps", "deepspeed")  # of an object, whose names don't say that they bind the rate
_Model = TypeVar("_Model", bound=BaseModel)


def _plain_text(value: Any) -> Any:
    """Return an enum's value: the object holds enums where a file holds their text."""
    return getattr(value, "value", value)


def _keywords(value: Any) -> Any:
    """Read keyword arguments that stand in a text, as on a command line; numbers in quotes are numbers there."""
    if not isinstance(value, str):
        return value
    try:
        found = json.loads(value)
    except ValueError:
        raise ValueError(f"expected a mapping, or one as JSON text, got {value!r}") from None
    if not isinstance(found, dict):
        raise ValueError(f"expected a mapping, got {value!r}")  # noqa: TRY004 - pydantic wants a ValueError
    return {key: _number(item) for key, item in found.items()}


def _number(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        return value


class Arguments(BaseModel):
    """The arguments that bind the rate, with transformers' defaults; the hundred others are left alone."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)

    learning_rate: float = Field(gt=0)
    lr_scheduler_type: Annotated[str, BeforeValidator(_plain_text)] = "linear"
    lr_scheduler_kwargs: Annotated[dict[str, Any] | None, BeforeValidator(_keywords)] = None
    warmup_steps: float = Field(default=0, ge=0)
    warmup_ratio: float | None = Field(default=None, ge=0, le=1)
    max_steps: int = -1
    optim: Annotated[str | None, BeforeValidator(_plain_text)] = None
    optim_args: str | None = None
    weight_decay: float = 0.0
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8

    @field_validator("lr_scheduler_type")
    @classmethod
    def _known(cls, name: str) -> str:
        if name == GREEDY:
            raise ValueError(f"{name} raises and cuts the rate by the evaluation, which no schedule here does")
        if name not in FORMULAS and name != PLATEAU:
            raise ValueError(f"unknown {name!r}; known: {', '.join((*FORMULAS, PLATEAU))}")
        return name

    def warmup(self, steps: int) -> int:
        """Return W, in updates: version 5 takes a `warmup_steps` below 1 as a share, version 4 has `warmup_ratio`."""
        if self.warmup_steps >= 1:
            return int(self.warmup_steps)
        return math.ceil(steps * (self.warmup_steps or self.warmup_ratio or 0.0))


def import_arguments(source: Any, *, steps: int | None, optimizer: str | None, tolerance: float) -> ScheduleConfig:
    """Return the config whose f(t) is the rate that the Trainer uses; see `lrfinder.import_schedule`."""
    data = source if isinstance(source, Mapping) else _attributes(source)
    try:
        return read_arguments(
            Document(data=dict(data), keys={}, values={}),
            steps=steps,
            optimizer=optimizer,
            tolerance=tolerance,
            folder=Path(),
        )
    except UnfitError as error:
        raise UsageError("\n".join(problem.message for problem in error.problems), hint=error.hint) from None


def _attributes(source: Any) -> dict[str, Any]:
    named = filter(names_the_rate, getattr(source, "__dict__", {}))  # those of a subclass, too: axolotl's
    keys = dict.fromkeys((*Arguments.model_fields, *_ALSO_READ, *named))
    return {key: getattr(source, key) for key in keys if hasattr(source, key)}


def read_arguments(
    document: Document, *, steps: int | None, optimizer: str | None, tolerance: float, folder: Path
) -> ScheduleConfig:
    """Return the config that the document's arguments are; raise UnfitError with the places of what is wrong.

    `folder` is where a DeepSpeed config that they name is looked for first.
    """
    unread = check_keys(document, Arguments.model_fields, folder)
    refuse_own(document)
    if mark_of(document.data) is None:
        return _config(
            document, of="transformers'", steps=steps, optimizer=optimizer, tolerance=tolerance, unread=unread
        )
    document = training_arguments(document, steps)
    try:
        return _config(document, of="axolotl's", steps=steps, optimizer=optimizer, tolerance=tolerance, unread=unread)
    except UnfitError as error:
        raise in_own_names(error) from None


def _config(
    document: Document, *, of: str, steps: int | None, optimizer: str | None, tolerance: float, unread: str
) -> ScheduleConfig:
    arguments = _arguments(document)
    length = _length(arguments, steps, document)
    name = optimizer or _optimizer(arguments, document)
    source = f"{of} {arguments.lr_scheduler_type}"
    if arguments.lr_scheduler_type == PLATEAU:
        made = Match(peak=arguments.learning_rate, schedule=_plateau(arguments, length, document), difference=0.0)
        why = f"imported from {source}: call observe(loss) after every evaluation"
    else:
        made, reason = _matched(arguments, length, document, source, tolerance)
        why = why_shape(source, made, reason)
    betas = (arguments.adam_beta1, arguments.adam_beta2)
    try:
        settings = optimizer_settings(
            name,
            betas=betas,
            eps=arguments.adam_epsilon,
            weight_decay=arguments.weight_decay,
            optim_args=arguments.optim_args,
        )
    except ValueError as error:
        raise UnfitError([Problem(document.place(("optim_args",)), f"optim_args: {error}")]) from None
    return ScheduleConfig.model_validate(
        {
            "optimizer": OptimizerConfig(name=name, lr=made.peak, settings=settings),
            "schedule": made.schedule,
            "evidence": Evidence(why=why + unread, lrfinder=VERSION),
        }
    )


def _matched(arguments: Arguments, steps: int, document: Document, source: str, tolerance: float) -> tuple[Match, str]:
    """Return what the type's formula comes to, and why that would be a table."""
    formula = _keyword_arguments(FORMULAS[arguments.lr_scheduler_type], arguments, document)
    run = Run(peak=arguments.learning_rate, warmup=arguments.warmup(steps), steps=steps)
    rates = _rates(formula, run, document)
    check_rates(rates, of=source)
    check_peak(max(rates), of=source)
    # A peak that people know is kept if it is one: factors over 1 can't be.
    made = match(rates, _candidates(formula, run, rates), peak=max(run.peak, *rates, 0.0), tolerance=tolerance)
    return made, formula.why_table(run)


def _plateau(arguments: Arguments, steps: int, document: Document) -> Schedule:
    found = _keyword_arguments(PlateauArguments, arguments, document)
    return plateau(found, peak=arguments.learning_rate, steps=steps)


def _arguments(document: Document) -> Arguments:
    data = document.data
    if data.get("learning_rate") is None:
        problem = Problem(document.place(()), "learning_rate: missing")
        raise UnfitError([problem], "add it; transformers' own default is 5e-05, written out if it is meant")
    try:
        found = Arguments.model_validate({key: value for key, value in data.items() if value is not None})
    except ValidationError as error:
        raise UnfitError(explain(error, document)) from None
    if found.warmup_steps and found.warmup_ratio and found.warmup_steps != found.warmup_ratio:
        problem = Problem(
            document.place(("warmup_ratio",), of_key=True),
            f"warmup_ratio ({found.warmup_ratio:g}) and warmup_steps ({found.warmup_steps:g}): version 4 of "
            "transformers takes warmup_steps, version 5.0 warmup_ratio",
        )
        raise UnfitError([problem], "remove the one that is not meant")
    return found


def _keyword_arguments(kind: type[_Model], arguments: Arguments, document: Document) -> _Model:
    """Return `lr_scheduler_kwargs` as `kind` takes them; raise UnfitError for what it doesn't take."""
    keywords = arguments.lr_scheduler_kwargs or {}
    if kind.model_config.get("extra") == "forbid":
        allowed = ", ".join(kind.model_fields) or "none"
        unknown = [
            Problem(
                document.place((_KEYWORDS, key), of_key=True),
                f"{_KEYWORDS}.{key}: {arguments.lr_scheduler_type} doesn't take it; it takes {allowed}",
            )
            for key in keywords
            if key not in kind.model_fields
        ]
        if unknown:
            raise UnfitError(unknown)
    try:
        return kind.model_validate(keywords)
    except ValidationError as error:
        raise UnfitError(explain(error, document, below=(_KEYWORDS,))) from None


def _length(arguments: Arguments, steps: int | None, document: Document) -> int:
    """Return T: `max_steps`, or else `steps`."""
    own = arguments.max_steps if arguments.max_steps > 0 else None
    length = steps if own is None else own
    if length is None:
        problem = Problem(
            document.place(("max_steps",)), "max_steps: missing, and num_train_epochs doesn't say how many updates"
        )
        hint = "give the updates of the whole run: --steps T (steps=T in Python)"
        raise UnfitError([problem], f"{hint}: batches of one epoch / gradient_accumulation_steps, times the epochs")
    if steps not in (None, length):
        problem = Problem(document.place(("max_steps",)), f"max_steps: is {own}, and {steps} was asked for")
        raise UnfitError([problem], "leave --steps out, or set max_steps to -1")
    if own is not None and own > MOST_UPDATES:
        problem = Problem(document.place(("max_steps",)), f"max_steps: at most {MOST_UPDATES:,}, got {own}")
        raise UnfitError([problem])
    check_updates(length)
    return length


def _optimizer(arguments: Arguments, document: Document) -> str:
    if arguments.optim is None:
        return DEFAULT
    found = optimizer_class(arguments.optim)
    if found is None:
        problem = Problem(document.place(("optim",)), f"optim: unknown {arguments.optim!r}")
        raise UnfitError([problem], "name the optimizer's class: --optimizer AdamW (optimizer= in Python)")
    return found


def _rates(formula: Formula, run: Run, document: Document) -> list[float]:
    try:
        return [run.peak * formula.factor(t, run) for t in range(run.steps)]
    except (ArithmeticError, ValueError, TypeError) as error:
        problem = Problem(document.place((_KEYWORDS,)), f"{_KEYWORDS}: its formula has no value there: {error}")
        raise UnfitError([problem], "check the keyword arguments; transformers would fail as well") from None


def _candidates(formula: Formula, run: Run, rates: list[float]) -> Iterator[Any]:
    yield partial(_named, formula, run)
    if max(rates) > 0:
        yield from recognized(rates)


def _named(formula: Formula, run: Run) -> Candidate | None:
    made = formula.named(run)
    return None if made is None else Candidate(peak=run.peak, schedule=made)
