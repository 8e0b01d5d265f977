"""Call the user's code. Its exceptions pass through, with a note that says which code was running."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Collection, Sequence
from types import TracebackType
from typing import Any, Self

from lrfinder.errors import ModelFileError, error_text, user_code


class user_call(user_code):  # noqa: N801 - used like a function: `with user_call("..."):`
    """Run the user's code: like `errors.user_code`, but Python writes no byte code next to the user's files.

    `place` says in words what is being run, for the note that an exception gets.

    Raises ModelFileError if the code calls `exit()`, which would end lrfinder with the user's exit status.
    """

    __slots__ = ("_wrote_none",)

    def __init__(self, place: str) -> None:  # as in the base class, without super(): every update calls it
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
        if isinstance(error, ValueError) and "more than 1 value per channel" in error_text(error):
            error.add_note("A batch of one sample has no variance for BatchNorm: DataLoader(..., drop_last=True)")
        if isinstance(error, SystemExit):
            raise ModelFileError(
                f"the code ended the program (exit status {error.code!r}) while {self.place}",
                hint='keep exit(), parse_args() and the script part under `if __name__ == "__main__":`',
            ) from error


def explain_inputs(error: TypeError, inputs: Sequence[Any]) -> None:
    """If the model got the wrong number of arguments, note that they are the elements of a batch before the last."""
    if len(inputs) > 1 and "positional argument" in error_text(error):
        error.add_note(
            f"A batch is (inputs..., target): all but the last of its {len(inputs) + 1} elements go into the model. "
            "For batches such as (x, y, weight) write `def training_step(model, batch): ...`, which returns the loss."
        )


def accepts_args(function: Callable[..., Any], count: int) -> bool:
    """Return whether `function` can be called with `count` positional arguments; True if it has no signature."""
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # some builtins have no signature
        return True
    return True


def takes_keyword(function: Callable[..., Any], keyword: str) -> bool:
    """Return whether `function` accepts the argument `keyword`, also by `**kwargs`; False without a signature."""
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return any((p.name == keyword and p.kind in by_name) or p.kind is p.VAR_KEYWORD for p in _parameters(function))


def names_parameter(function: Callable[..., Any], name: str) -> bool:
    """Return whether `function` has a parameter of this name; False without a signature."""
    return any(parameter.name == name for parameter in _parameters(function))


def required_arguments(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of the parameters that have no default; empty if the function has no signature."""
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return tuple(p.name for p in _parameters(function) if p.default is p.empty and p.kind not in variadic)


def _parameters(function: Callable[..., Any]) -> Collection[inspect.Parameter]:
    try:
        return inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # it has no signature
        return ()


def call_name(value: object) -> str:
    """Return the name of a function or class, or the class name of any other object, for messages."""
    return str(getattr(value, "__name__", type(value).__name__))


def describe_value(value: object) -> str:
    """Describe `value` in a few words: "a str ('resnet18')", "the class Net", "the function build"."""
    if inspect.isclass(value):
        return f"the class {value.__name__}"
    if inspect.isroutine(value):
        return f"the function {call_name(value)}"
    kind = type(value).__name__
    text = f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"
    return f"{text} ({value!r})" if isinstance(value, str | int | float | bool) else text
