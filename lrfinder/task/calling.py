"""Calling what the user wrote: exceptions pass unchanged, with a note of what was being run."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from lrfinder.errors import ModelFileError, user_code


class user_call(user_code):  # noqa: N801 - used as a function is: `with running("..."):`
    """Run the user's code: as `errors.user_code`, and no byte code is written next to the user's files.

    Raises ModelFileError if the code calls `exit()`: it would end lrfinder with a status that isn't its own.
    """

    __slots__ = ("_wrote_none",)

    def __init__(self, place: str) -> None:  # as the base class does: every update calls it
        self.place = place

    def __enter__(self) -> Self:
        self._wrote_none = sys.dont_write_bytecode
        sys.dont_write_bytecode = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        sys.dont_write_bytecode = self._wrote_none
        if error is None:
            return
        super().__exit__(kind, error, trace)
        if isinstance(error, SystemExit):
            raise ModelFileError(
                f"the code ended the program (exit status {error.code!r}) while {self.place}",
                hint='keep exit() and the script part under `if __name__ == "__main__":`',
            ) from error


def accepts_args(function: Callable[..., Any], count: int) -> bool:
    """Return whether `function` can be called with `count` positional arguments; True if it doesn't say."""
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # some builtins have no signature
        return True
    return True


def takes_keyword(function: Callable[..., Any], keyword: str) -> bool:
    """Return whether `function` has a parameter that can be passed by this name, `**kwargs` included."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return any((p.name == keyword and p.kind in by_name) or p.kind is p.VAR_KEYWORD for p in parameters)


def required_arguments(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of the parameters without a default; empty if the function doesn't say."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return ()
    return tuple(p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))


def call_name(value: object) -> str:
    """Return what a function or an object is called in its source, for messages."""
    return str(getattr(value, "__name__", type(value).__name__))


def describe_value(value: object) -> str:
    """Return `value` in a few words: "a str ('resnet18')", "the class Net", "the function build"."""
    if inspect.isclass(value):
        return f"the class {value.__name__}"
    if inspect.isroutine(value):
        return f"the function {call_name(value)}"
    kind = type(value).__name__
    text = f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"
    return f"{text} ({value!r})" if isinstance(value, str | int | float | bool) else text
