"""The options of a sweep, checked: before torch is imported, and by one text for the command line and Python."""

from __future__ import annotations

import warnings
from enum import StrEnum
from typing import Any

from lrfinder.errors import UsageError
from lrfinder.records import Graph, Metric, Mode, Precision, Spacing, SweepSettings, UpdateOptions
from lrfinder.store import Source


def make_settings(**keywords: Any) -> SweepSettings:
    """Return the settings; raise UsageError, with the parameter, its bound and the value, if they can't be swept."""
    for name, choices in (("spacing", Spacing), ("mode", Mode), ("metric", Metric)):
        keywords[name] = _chosen(name, choices, keywords[name])
    try:
        return SweepSettings(**keywords)
    except ValueError as error:
        raise UsageError(str(error)) from None


def make_training(**keywords: Any) -> UpdateOptions:
    """Return how updates are made; raise UsageError for impossible options, as for the settings."""
    for name, choices in (("precision", Precision), ("graph", Graph)):
        keywords[name] = _chosen(name, choices, keywords[name])
    try:
        return UpdateOptions(**keywords)
    except ValueError as error:
        raise UsageError(str(error)) from None


def make_source(**keywords: Any) -> Source:
    """Return where the model comes from; raise UsageError for impossible options, as for the settings."""
    try:
        return Source(**keywords)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _chosen(name: str, choices: type[StrEnum], value: str) -> StrEnum:
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
