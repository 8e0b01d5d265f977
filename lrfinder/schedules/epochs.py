"""Lengths in epochs: texts such as "30 epochs" where a schedule counts updates; what is wrong with items of lists."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError
from pydantic_core.core_schema import ErrorType

UNCOUNTED = "uncounted"  # pydantic's type of the error of a length in epochs if `epoch` has an error itself
WRONG = "wrong"  # in the place of such an `epoch`
MOST_EPOCHS = 999_999_999
_EPOCHS = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) epochs?")
_LIKE_EPOCHS = re.compile(r"\s*(.*?)\s*(?<![a-z])ep", re.IGNORECASE | re.DOTALL)
_THOUSANDS = re.compile(r"[0-9]+,[0-9]{3}")  # or a decimal comma: nobody knows
_LONGEST_SHOWN = 60

Path = tuple[int | str, ...]


def in_updates(value: Any, check: Callable[[Any], Any], epoch: int | str | None) -> Any:
    """Return what `check` makes of a field's value, in which texts such as "30 epochs" are updates, in lists as well.

    They are where `check` wants a whole number, and nowhere else. `epoch` is the number of updates of one, None if
    there is none, WRONG if it isn't valid. Raises ValidationError for what `check` refuses, each item by itself; where
    that is a text, with what is wrong about the epochs.
    """
    try:
        return check(value)
    except ValidationError as error:
        wanted = {details["loc"] for details in error.errors(include_url=False) if details["type"] == "int_type"}
        if not wanted:
            raise
    faults: dict[Path, InitErrorDetails] = {}
    counted = _counted(value, epoch, (), wanted, faults)
    try:
        return check(counted)
    except ValidationError as error:
        found = [_fault_or_own(details, faults) for details in error.errors(include_url=False)]
        raise ValidationError.from_exception_data(error.title, found) from None


def no_epochs(value: Any) -> Any:
    """Return the value of a field that counts evaluations; raise ValueError for a text such as "5 epochs"."""
    like = _LIKE_EPOCHS.match(value) if isinstance(value, str) else None
    if like is None:
        return value
    number = f"write {like[1]}" if like[1].isdecimal() else "write a whole number"
    raise ValueError(f"counts evaluations, not updates: {number}, if there is one each epoch; got {_shown(value)}")


def _counted(
    value: Any, epoch: int | str | None, path: Path, wanted: Container[Path], faults: dict[Path, InitErrorDetails]
) -> Any:
    """Return the value with its texts at `wanted` in updates; those that can't be counted stay, `faults` says why."""
    if isinstance(value, list | tuple):
        return type(value)(_counted(item, epoch, (*path, index), wanted, faults) for index, item in enumerate(value))
    if not isinstance(value, str) or path not in wanted:
        return value
    try:
        return _updates(value, epoch)
    except PydanticCustomError as error:
        faults[path] = InitErrorDetails(type=error, loc=path, input=value)
    except ValueError as error:
        faults[path] = InitErrorDetails(type="value_error", loc=path, input=value, ctx={"error": error})
    return value


def _updates(text: str, epoch: int | str | None) -> int | str:
    found = _EPOCHS.fullmatch(text)
    if found is None:
        like = _LIKE_EPOCHS.match(text)
        if like is not None:
            raise ValueError(f"expected a whole number of updates, or {_right(like[1])}, got {_shown(text)}")
        return text
    if isinstance(epoch, str):
        raise PydanticCustomError(UNCOUNTED, "epoch isn't valid, so this can't be counted")
    if epoch is None:
        raise ValueError(f"{text!r} needs to know the updates of an epoch; add them, e.g. epoch: 391")
    updates = Fraction(found[1]) * epoch
    if updates.denominator != 1:
        raise ValueError(f"{text!r} of {epoch} updates are {float(updates):g} updates, not a whole number")
    return int(updates)


def _shown(text: str) -> str:
    return repr(text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}...")


def _right(number: str) -> str:
    """Return how a number of epochs is to be written: this one, if it is one, else an example."""
    example = "a text such as '2.5 epochs'"
    if _THOUSANDS.fullmatch(number):
        return example
    try:
        value = Decimal(number.replace(",", ".", 1))
    except InvalidOperation:
        return example
    if not value.is_finite() or value.is_signed():
        return example
    if value > MOST_EPOCHS:
        return f"at most {MOST_EPOCHS} epochs"
    plain = f"{value:.20f}".rstrip("0").rstrip(".")
    exact = _EPOCHS.fullmatch(f"{plain} epochs") is not None and Decimal(plain) == value
    return f"{plain} epochs" if exact else f"{example}, of at most 9 decimals"


def refused_items(faults: Iterable[tuple[Path, str, Any]]) -> ValidationError:
    """Return the error of items of a field's list (path, message, item), which are told at their own places."""
    found = [
        InitErrorDetails(type="value_error", loc=path, input=item, ctx={"error": ValueError(message)})
        for path, message, item in faults
    ]
    return ValidationError.from_exception_data("list", found)


def _fault_or_own(details: ErrorDetails, faults: dict[Path, InitErrorDetails]) -> InitErrorDetails:
    """Return what is wrong about the epochs where a whole number was expected; else what was found."""
    fault = faults.get(details["loc"])
    if fault is not None and details["type"] == "int_type":
        return fault
    kind: Any = details["type"]
    if kind not in get_args(ErrorType):  # of a schedule that another distribution adds
        kind = PydanticCustomError(kind, "{text}", {"text": details["msg"]})
        return InitErrorDetails(type=kind, loc=details["loc"], input=details["input"])
    return InitErrorDetails(type=kind, loc=details["loc"], input=details["input"], ctx=details.get("ctx", {}))
