"""The options of a sweep, checked: before torch is imported, and by one text for the command line and Python."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Any

from lrfinder.errors import UsageError
from lrfinder.records import Graph, Metric, Mode, Precision, Spacing, SweepSettings, UpdateOptions


def make_settings(**keywords: Any) -> SweepSettings:
    """Return the settings; what can't be swept is a UsageError that names the parameter, its bound and the value."""
    for name, choices in (("spacing", Spacing), ("mode", Mode), ("metric", Metric)):
        keywords[name] = _chosen(name, choices, keywords[name])
    try:
        return SweepSettings(**keywords)
    except ValueError as error:
        raise UsageError(str(error)) from None


def make_training(**keywords: Any) -> UpdateOptions:
    """Return how updates are made; what can't be meant is a UsageError, as for the settings."""
    for name, choices in (("precision", Precision), ("graph", Graph)):
        keywords[name] = _chosen(name, choices, keywords[name])
    try:
        return UpdateOptions(**keywords)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _chosen(name: str, choices: type[StrEnum], value: str) -> StrEnum:
    if value not in list(choices):
        raise UsageError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
    return choices(value)


def checked_timeout(seconds: float) -> float:
    """Return how long a batch may take, 0 for any time; raise UsageError for what isn't a time."""
    if not (math.isfinite(seconds) and seconds >= 0):
        raise UsageError(f"loader_timeout must be a finite number of seconds, 0 to wait forever, got {seconds}")
    return seconds
