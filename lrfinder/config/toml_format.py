"""TOML: its syntax and its data are the standard library's; `toml_places` adds the places; written by tomlkit."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import tomlkit

from lrfinder.config.document import Document, Place, Problem, UnreadableError, places_in
from lrfinder.config.toml_places import find_places

_AT = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")  # how tomllib ends its messages
_LONG_NUMBER = re.compile(r"\d{4300,}")  # Python converts fewer digits than that


def read(text: str) -> Document:
    """Return the document in `text`; raise UnreadableError with line and column for what is not TOML."""
    places = find_places(text)  # first: it never recurses beyond the limit, and finds both ends of a duplicate
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        problem = _syntax_problem(text, str(error))
        repeated = [found for found in places.problems if found.place <= problem.place]
        raise UnreadableError(repeated or [problem]) from None
    except ValueError:
        message = "a number with more digits than can be read"
        number = _LONG_NUMBER.search(text)
        raise UnreadableError([Problem(places_in(text)(number.start() if number else 0), message)]) from None
    return Document(data=data, keys=places.keys, values=places.values)


def _syntax_problem(text: str, message: str) -> Problem:
    at = _AT.search(message)
    if at is None or at.group(1) is None:
        place = places_in(text)(len(text))
    else:
        place = Place(int(at.group(1)), int(at.group(2)))
    return Problem(place, f"not valid TOML: {_AT.sub('', message)}")


def write(data: dict[str, Any], header: str) -> str:
    """Return `data` as TOML, one table per section, below `header` as a comment."""
    document = tomlkit.document()
    for line in header.splitlines():
        document.add(tomlkit.comment(line))
    for key, value in data.items():
        document.add(key, _table(value) if isinstance(value, dict) else tomlkit.item(value))
    return tomlkit.dumps(document)


def _table(section: dict[str, Any]) -> tomlkit.items.Table:
    table = tomlkit.table()
    for key, value in section.items():
        if isinstance(value, dict):
            inline = tomlkit.inline_table()
            inline.update(value)
            table.add(key, inline)
        elif isinstance(
            value, list
        ):  # tomlkit puts one item after another into a list, each slower than the one before
            table.add(key, tomlkit.value(json.dumps(value, ensure_ascii=False)))
        else:
            table.add(key, value)
    return table
