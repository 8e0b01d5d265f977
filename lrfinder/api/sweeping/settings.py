"""The options of a sweep, checked: before torch is imported, and by one text for the command line and Python."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar

from lrfinder.errors import UsageError
from lrfinder.records import (
    LOADER_TIMEOUT,
    Graph,
    Metric,
    Mode,
    Precision,
    Spacing,
    Strategy,
    SweepSettings,
    UpdateOptions,
)
from lrfinder.records.given import real_number, whole_number
from lrfinder.store import Source
from lrfinder.task.checkpoint.files import checkpoint_files

_Choice = TypeVar("_Choice", bound=StrEnum)
_Options = TypeVar("_Options")


def make_settings(**keywords: Any) -> SweepSettings:
    """Return the settings; raise UsageError, with the parameter, its bound and the value, if they can't be swept."""
    for name, choices in (("spacing", Spacing), ("mode", Mode), ("metric", Metric)):
        if name in keywords:
            keywords[name] = choose(name, choices, keywords[name])
    return asked(SweepSettings, **keywords)


def make_source(
    reference: str,
    *,
    optimizer: str | None = None,
    momentum: float | None = None,
    weight_decay: float | None = None,
    batch_size: int | None = None,
    device: str = "auto",
    loader_timeout: float = LOADER_TIMEOUT,
    start_from: str | os.PathLike[str] | None = None,
    **training: Any,
) -> Source:
    """Return where the model comes from, and how it is trained: `training` are keywords of UpdateOptions.

    Raises UsageError for impossible options, as for the settings.
    """
    for name, choices in (("precision", Precision), ("graph", Graph), ("strategy", Strategy)):
        if name in training:
            training[name] = choose(name, choices, training[name])
    if start_from is not None:
        checkpoint_files(os.fspath(start_from))  # before torch is imported
    options = {"momentum": momentum, "weight_decay": weight_decay}
    try:
        return Source(
            reference=reference,
            optimizer=optimizer,
            optimizer_options={name: real_number(name, value) for name, value in options.items() if value is not None},
            batch_size=None if batch_size is None else whole_number("batch_size", batch_size),
            device=device,
            training=UpdateOptions(**training),
            loader_timeout=real_number("loader_timeout", loader_timeout),
            start_from=None if start_from is None else os.fspath(start_from),
        )
    except ValueError as error:
        raise UsageError(str(error)) from None


def asked(kind: Callable[..., _Options], **keywords: Any) -> _Options:
    """Return the options that the keywords make; raise UsageError for what is no number."""
    try:
        return kind(**keywords)
    except ValueError as error:
        raise UsageError(str(error)) from None


def choose(name: str, choices: type[_Choice], value: str) -> _Choice:
    """Return the member of `choices` that a keyword names; raise UsageError if it names none."""
    if value not in list(choices):
        raise UsageError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
    return choices(value)


def new_keyword(name: str, value: Any, *, old: str, given: Any) -> Any:
    """Return what a function's caller gave as `name`, or under its `old` name, which is a DeprecationWarning.

    Raises UsageError for both. The function itself must call this: the warning names the line of its caller.
    """
    if given is None:
        return value
    if value is not None:
        raise UsageError(f"{old} is the old name of {name}, and both were given", hint=f"remove {old}")
    warnings.warn(f"the keyword {old} is called {name} now", DeprecationWarning, stacklevel=3)
    return given
