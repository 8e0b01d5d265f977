"""Values of options: completed by the shell from the tables that there are, and wrong ones told in plain words."""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Callable, Iterable, Sequence

_NOT_ONE_OF = re.compile(r"(?:Value error, )?'(?P<given>[^']*)' is not one of (?P<choices>'.*')\.?")
# What pydantic says, which Typer asks from 0.29 on, and what Typer said by itself before.
_KINDS = {
    "Input should be a valid integer": "a whole number",
    "Input should be a valid number": "a number",
    "is not a valid integer.": "a whole number",
    "is not a valid float.": "a number",
}
_BOUND = re.compile(r"Input should be (greater|less) than( or equal to)? (?P<bound>\S+)")
_RANGE = re.compile(r"\S+ is not in the range x(?P<sign>[<>]=?)(?P<bound>[^<>]+)\.")
_SIGNS = {">=": "at least", ">": "greater than", "<=": "at most", "<": "less than"}


def completer(table: str, *, several: bool = False) -> Callable[[str], list[str]]:
    """Return a function for the shell: the names of the mapping or sequence `table` (`module:name`) that fit.

    The module is imported when the shell asks. `several`: the value is a list with commas, whose last part is meant.
    """

    def complete(incomplete: str) -> list[str]:
        module, _, name = table.partition(":")
        names: Iterable[str] = getattr(importlib.import_module(module), name)
        before, comma, last = incomplete.rpartition(",") if several else ("", "", incomplete)
        given = before.split(",")
        return [f"{before}{comma}{it}" for it in names if it.lower().startswith(last.lower()) and it not in given]

    return complete


complete_schedule = completer("lrfinder.schedules:SCHEDULES")
complete_schedules = completer("lrfinder.schedules:SCHEDULES", several=True)
complete_rule = completer("lrfinder.rules:RULE_NAMES")
complete_target = completer("lrfinder.export:TARGETS")
complete_optimizer = completer("lrfinder.optimizers:TRAITS")
complete_sink = completer("lrfinder.api.sweeping.sinks:SINKS")


def plain_words(message: str, options: Sequence[str], arguments: Sequence[str]) -> str:
    """Return Typer's message about the value of an option (called one of `options`) in words that people understand."""
    found = _NOT_ONE_OF.fullmatch(message)
    if found is not None:
        choices = re.findall(r"'([^']*)'", found["choices"])
        near = difflib.get_close_matches(found["given"], choices, n=1)
        guess = f"did you mean {near[0]}? " if near else ""
        return f"{found['given']!r} is not one of them; {guess}choose one of: {', '.join(choices)}"
    given = given_value(options, arguments)
    kind = next((words for part, words in _KINDS.items() if part in message), None)
    if kind is not None and given is not None:
        return f"{given!r} is not {kind}"
    bound = _BOUND.fullmatch(message)
    if bound is not None and given is not None:
        least = "at least" if bound[1] == "greater" else "at most"
        return f"{given} must be {least if bound[2] else bound[1] + ' than'} {bound['bound']}"
    within = _RANGE.fullmatch(message)
    if within is not None and given is not None:
        return f"{given} must be {_SIGNS[within['sign']]} {within['bound']}"
    return message


def given_value(options: Sequence[str], arguments: Sequence[str]) -> str | None:
    """Return the last value that the command line gives one of `options`."""
    found = None
    for word, following in zip(arguments, [*arguments[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if name in options:
            found = value if equals else following
    return found
