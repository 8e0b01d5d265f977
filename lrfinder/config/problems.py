"""What pydantic finds wrong with a config, as sentences: the key, what was found, and what is allowed."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from lrfinder.config.document import Document, KeyPath, Place, Problem, show_path
from lrfinder.config.model import BatchConfig, Evidence, OptimizerConfig, ScheduleConfig
from lrfinder.schedules import SCHEDULES, UNKNOWN_SHAPE
from lrfinder.schedules.epochs import UNCOUNTED

_SECTIONS: dict[str, type[BaseModel]] = {"optimizer": OptimizerConfig, "batch": BatchConfig, "evidence": Evidence}

_NUMBER = re.compile(r"[-+]?[0-9.]+(?:e[-+]?[0-9]+)?", re.IGNORECASE)  # that somebody put into quotes
# pydantic's error types by what they expected; {…} is filled from the error's context.
_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "string_unicode": "text",
    "string_too_short": "some text",
    "greater_than": "a number above {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "less_than": "a number below {lt}",
    "less_than_equal": "a number of at most {le}",
    "finite_number": "a finite number",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "model_type": "a mapping of keys to values",
    "dict_type": "a mapping of keys to values",
    "tuple_type": "a list",
    "missing": "a value",
    "too_short": "a list of at least {min_length}",
    "too_long": "a list of {max_length}",
}

_LONGEST_SHOWN = 60  # characters of a wrong value: enough to find it


def explain(error: ValidationError, document: Document, *, below: KeyPath = ()) -> list[Problem]:
    """Return one problem per error, each with the place in the file; what was judged stands at the key path `below`."""
    found = error.errors(include_url=False)
    told = [details for details in found if details["type"] != UNCOUNTED]  # `epoch` is told, which it follows from
    return [_explain_one({**details, "loc": (*below, *details["loc"])}, document) for details in told]


def _explain_one(details: ErrorDetails, document: Document) -> Problem:
    path, kind = details["loc"], details["type"]
    if path[-1:] == ("[key]",):  # pydantic's word for the key itself being wrong
        return Problem(document.place(path[:-1], of_key=True), f"{show_path(path[:-1])}: {_wrong_value(details)}")
    if kind == "extra_forbidden":
        return Problem(document.place(path, of_key=True), f"{show_path(path)}: {_unknown_key(path, document)}")
    if kind == "missing" and not isinstance(path[-1], int):
        return Problem(document.place(path[:-1], of_key=True), f"{show_path(path)}: missing; {_example(path)}")
    if kind == UNKNOWN_SHAPE:
        return _wrong_shape((*path, "name"), details["input"], document)
    return Problem(document.place(path), f"{show_path(path) or 'the file'}: {_wrong_value(details)}")


def _unknown_key(path: KeyPath, document: Document) -> str:
    allowed = _allowed_keys(path, document)
    return f"unknown key{_did_you_mean(str(path[-1]), allowed)}; allowed here: {', '.join(allowed)}"


def _allowed_keys(path: KeyPath, document: Document) -> list[str]:
    model: type[BaseModel] = ScheduleConfig
    if len(path) > 1:
        model = SCHEDULES[document.data["schedule"]["name"]] if path[0] == "schedule" else _SECTIONS[str(path[0])]
    return [field.alias or name for name, field in model.model_fields.items()]


def _did_you_mean(word: str, allowed: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(allowed), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _example(path: KeyPath) -> str:
    """Return what to add if the key at `path` is missing."""
    examples = {
        "optimizer": "add the section, e.g. optimizer: {name: AdamW, lr: 0.001}",
        "schedule": "add the section, e.g. schedule: {name: linear, warmup: 50, steps: 1000}",
        "name": "add the optimizer's class name, e.g. AdamW",
        "lr": "add the peak rate, e.g. 0.001",
        "steps": "add the updates of the whole run, e.g. 1000",
    }
    return examples.get(str(path[-1]), "this key has no default, so add it")


def _wrong_shape(path: KeyPath, section: Any, document: Document) -> Problem:
    known = ", ".join(SCHEDULES)
    if not isinstance(section, dict) or "name" not in section:
        place = document.place(path[:-1], of_key=True)
        return Problem(place, f"{show_path(path)}: missing; add one of {known}")
    name = section["name"]
    nearest = _did_you_mean(name, SCHEDULES) if isinstance(name, str) else ""
    message = f"unknown schedule {show_value(name)}{nearest}; known: {known}"
    return Problem(document.place(path), f"{show_path(path)}: {message}")


def _wrong_value(details: ErrorDetails) -> str:
    found = details["input"]
    if details["type"] == "value_error":
        return str(details["ctx"]["error"])
    expected = _EXPECTED.get(details["type"])
    if expected is None:
        return f"{details['msg']}, got {show_value(found)}"
    whole = isinstance(found, float) and details["type"] == "int_type" and found.is_integer()
    advice = f"; write {int(found)}" if whole else ""
    if isinstance(found, str) and details["type"] in {"int_type", "float_type"} and _NUMBER.fullmatch(found):
        advice = f"; write {found}, without quotes"
    bounds = {key: f"{bound:g}" if isinstance(bound, float) else bound for key, bound in details.get("ctx", {}).items()}
    return f"expected {expected.format(**bounds)}, got {show_value(found)}{advice}"


def show_value(value: Any) -> str:
    """Return a value as a config file would write it, cut if it is long."""
    text = json.dumps(value, default=str)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Return the problems as one meets them when reading the file."""
    return sorted(problems, key=lambda problem: (Place(*problem.place), problem.message))
