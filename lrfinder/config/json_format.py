"""JSON: its syntax is judged by the standard library; a walk over the tokens then adds the places."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from lrfinder.config.document import (
    MAX_DEPTH,
    Document,
    DocumentBuilder,
    Place,
    Problem,
    UnreadableError,
    places_in,
    too_deep,
)

# Strings, brackets, and everything else that is not punctuation or space: numbers, true, false, null.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]|[^\s{}\[\]:,"]+')


def read(text: str) -> Document:
    """Return the document in `text`; raise UnreadableError with line and column for what is not JSON."""
    _refuse_deep(text)
    try:
        # Numbers are converted below, where their place is known: Python refuses to convert very long ones.
        json.loads(text, parse_int=len, parse_float=len)
    except json.JSONDecodeError as error:
        problem = Problem(Place(error.lineno, error.colno), f"not valid JSON: {error.msg}")
        raise UnreadableError([problem]) from None
    builder = DocumentBuilder()
    place_of = places_in(text)
    for token, offset in _tokens(text):
        place = place_of(offset)
        if token == "{":  # noqa: S105 - a bracket
            builder.open({}, place)
        elif token == "[":  # noqa: S105
            builder.open([], place)
        elif token in {"}", "]"}:
            builder.close()
        else:
            builder.scalar(_scalar(token, place), place)
    return builder.document()


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    return ((match.group(), match.start()) for match in _TOKEN.finditer(text))


def _refuse_deep(text: str) -> None:
    """Raise before the standard library recurses into the text."""
    depth = 0
    for token, offset in _tokens(text):
        depth += (token in {"{", "["}) - (token in {"}", "]"})
        if depth > MAX_DEPTH:
            raise UnreadableError([Problem(places_in(text)(offset), too_deep())])


def _scalar(token: str, place: Place) -> Any:
    try:
        return json.loads(token)
    except ValueError:  # more digits than Python converts
        message = f"{token[:40]}... is not a whole number that can be read; it has {len(token)} digits"
        raise UnreadableError([Problem(place, message)]) from None


def write(data: dict[str, Any], header: str) -> str:  # noqa: ARG001 - JSON has no comments
    """Return `data` as JSON, indented; `header` has no place in JSON and is left out."""
    return json.dumps(data, indent=2, allow_nan=False) + "\n"
