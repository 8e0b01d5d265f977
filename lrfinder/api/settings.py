"""The options of a sweep, checked: before torch is imported, and by one text for the command line and Python."""

from __future__ import annotations

from typing import Any

from lrfinder.errors import UsageError
from lrfinder.records import Metric, Mode, Spacing, SweepSettings


def make_settings(**keywords: Any) -> SweepSettings:
    """Return the settings; what can't be swept is a UsageError that names the parameter, its bound and the value."""
    tables = {"spacing": Spacing, "mode": Mode, "metric": Metric}
    for name, choices in tables.items():
        if keywords[name] not in list(choices):
            raise UsageError(f"{name} must be one of {', '.join(choices)}, got {keywords[name]!r}")
        keywords[name] = choices(keywords[name])
    try:
        return SweepSettings(**keywords)
    except ValueError as error:
        raise UsageError(str(error)) from None
