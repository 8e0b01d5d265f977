"""Numbers as callers give them, also NumPy's and torch's, made into Python's own: those are written as numbers are."""

from __future__ import annotations

import contextlib
import dataclasses
import operator
from collections.abc import Callable
from numbers import Real
from typing import Any

from lrfinder.errors import UsageError


def whole_number(name: str, value: Any) -> int:
    """Return `value` as an int; a float counts if it is whole. Raises ValueError for anything else, with `name`."""
    if not isinstance(value, bool):
        with contextlib.suppress(TypeError):
            return operator.index(value)
        if issubclass(type(value), Real) and value % 1 == 0:
            return int(value)
    raise ValueError(f"{name} must be a whole number, got {value!r}")


def whole(name: str, value: object) -> int:
    """Return a whole number of any kind, such as 1e4 or NumPy's, as Python's own. Raises UsageError for all else."""
    try:
        return whole_number(name, value)
    except ValueError as error:
        raise UsageError(str(error)) from None


def real_number(name: str, value: Any) -> float:
    """Return `value` as a float. Raises ValueError for what is no number, with `name`."""
    if not isinstance(value, bool | str | bytes):
        with contextlib.suppress(TypeError, ValueError, OverflowError, RuntimeError):  # torch's for several numbers
            return float(value)
    raise ValueError(f"{name} must be a number, got {value!r}")


def _real_numbers(name: str, values: Any) -> tuple[float, ...]:
    return tuple(real_number(name, value) for value in values)


_KINDS: dict[str, Callable[[str, Any], Any]] = {
    "int": whole_number,
    "float": real_number,
    "tuple[float, ...]": _real_numbers,
}


def convert_numbers(record: Any) -> None:
    """Make the fields of a frozen `record` that are numbers by their annotation Python's own, in its `__post_init__`.

    Raises ValueError for what isn't such a number. None stays where it may be, and so does what may be a text.
    """
    for field in dataclasses.fields(record):
        kind, *others = str(field.type).split(" | ")
        value = getattr(record, field.name)
        if kind in _KINDS and not (value is None and others) and "str" not in others:
            object.__setattr__(record, field.name, _KINDS[kind](field.name, value))
