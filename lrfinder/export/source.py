"""A schedule as Python source: functions of the update that need the standard library alone."""

from __future__ import annotations

import ast
import builtins
import functools
import inspect
import textwrap
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

from lrfinder.errors import UsageError
from lrfinder.optimizers import list_in
from lrfinder.schedules import Schedule
from lrfinder.schedules.base import rise

_FACTOR = '''\
def factor(t):
    """Return the rate of update t = 0, 1, 2, ... over the peak: {said}."""
{warmup}    return decay({u}, {length}{arguments})
'''


def factor_source(schedule: Schedule, *, said: str) -> str:
    """Return the source of `factor(t)`, equal to `schedule.factor` at every update; it needs `import math`.

    It calls the shape's own formula, printed above it, with the schedule's parameters. `said` ends the sentence of its
    docstring. Past the end of the run the function holds what the schedule holds.

    Raises UsageError if the formula can't be printed, which those of a plug-in may not allow.
    """
    begin, steps = schedule.warmup, schedule.steps
    return function_source(*((rise,) if begin else ()), decay=schedule.formula) + _FACTOR.format(
        said=said,
        warmup=f"    if t < {begin}:\n        return {rise_call(schedule)}\n" if begin else "",
        u=f"min(t, {steps}) - {begin}" if begin else f"min(t, {steps})",
        length=steps - begin,
        arguments="".join(f", {name}={literal(value)}" for name, value in schedule.arguments().items()),
    )


def rise_call(schedule: Schedule) -> str:
    """Return the factor of update `t` of the warm-up as an expression; it needs the source of `rise`."""
    return f"rise(t, warmup={schedule.warmup}, start={schedule.warmup_start!r})"


def function_source(*functions: Callable[..., Any], **renamed: Callable[..., Any]) -> str:
    """Return the source of functions without their annotations, and of what they use of their own file above them."""
    parts: dict[str, tuple[str, Any]] = {}
    for name, function in [*((it.__name__, it) for it in functions), *renamed.items()]:
        _add_function(name, function, parts)
    lines = sorted(part for part, _ in parts.values() if not part.startswith("def "))
    head = "\n".join(lines) + "\n\n\n" if lines else ""
    return head + "".join(f"{part}\n\n\n" for part, _ in parts.values() if part.startswith("def "))


def refuse_two_of_a_name(text: str) -> None:
    """Raise UsageError if a module gives one name to two things, or takes one of Python's own functions.

    A schedule of a plug-in brings names of its own file, beside those that its export has.
    """
    named: dict[str, list[ast.stmt]] = {}
    for node in ast.parse(text).body:
        for name in _bound(node):
            named.setdefault(name, []).append(node)
    for name, nodes in named.items():
        several = len(nodes) > 1 and len({ast.unparse(node) for node in nodes}) > 1
        if several or hasattr(builtins, name):
            raise _taken(name)


def _bound(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name.split(".")[0] for alias in node.names]
    return [it.id for it in ast.walk(node) if isinstance(it, ast.Name) and isinstance(it.ctx, ast.Store)]


def _taken(name: str) -> UsageError:
    hint = "rename it in the file of the schedule, or export a table: --to csv"
    return UsageError(
        f"the schedule's own {name!r} has a name that the exported file needs for something else", hint=hint
    )


@functools.cache
def _read(name: str, function: Callable[..., Any]) -> tuple[str, tuple[str, ...]]:
    """Return the source of a function under this name, without annotations, and the names that it reads."""
    try:
        tree: Any = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    except (OSError, SyntaxError) as error:
        raise UsageError(f"the source of {name} can't be read: {error}", hint="export a table: --to csv") from error
    tree.name, tree.returns = name, None
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
    names = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)]
    return ast.unparse(tree), tuple(dict.fromkeys(names))


def _add_function(name: str, function: Callable[..., Any], parts: dict[str, tuple[str, Any]]) -> None:
    source, names = _read(name, function)
    own: dict[str, Any] = getattr(function, "__globals__", {})
    for used in [used for used in names if used in own]:
        value = own[used]
        if used == name or used in parts:
            if value is not (function if used == name else parts[used][1]):
                raise _taken(used)
        elif isinstance(value, FunctionType):
            _add_function(used, value, parts)
        elif not isinstance(value, ModuleType):
            parts[used] = f"{used} = {literal(value)}", value
        elif used != "math":
            parts[used] = f"import {value.__name__}" + (f" as {used}" if used != value.__name__ else ""), value
    parts[name] = source, function


def literal(value: Any) -> str:
    """Return a value as Python source, a long one on several lines."""
    text = repr(value)
    if len(text) <= 100 or not isinstance(value, tuple):  # noqa: PLR2004 - characters of a line
        return text
    return "(\n" + textwrap.indent(textwrap.fill(text[1:-1], 100, break_on_hyphens=False), "    ") + "\n)"


def setting(value: object) -> str:
    """Return an optimizer's setting as source: a list with None in it, which a config has as text, is a list again."""
    held = list_in(value)
    return repr(value if held is None else held)
