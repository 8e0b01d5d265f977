"""A config file as plain data that remembers where each key and value stands, so that errors can point at it."""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable, Iterable, Sized
from dataclasses import dataclass, field
from typing import Any, NamedTuple

KeyPath = tuple[str | int, ...]  # ("schedule", "final"); list items by index

MAX_DEPTH = 16  # a config is 4 levels deep; what nests deeper is a mistake or an attack on the reader's stack

MOST_VALUES = 40_000  # a table of 10,000 points has 30,002; each takes the readers some microseconds


class Place(NamedTuple):
    """A position in a text file; line and column (in characters) count from 1, as editors do."""

    line: int
    column: int


def places_in(text: str) -> Callable[[int], Place]:
    """Return a function that gives the place of the character at an offset of `text`."""
    starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def place(offset: int) -> Place:
        line = bisect.bisect_right(starts, offset)
        return Place(line, offset - starts[line - 1] + 1)

    return place


class Problem(NamedTuple):
    """Something wrong at a place of the file; `message` is a sentence for people."""

    place: Place
    message: str


class UnreadableError(Exception):
    """The text is not a document of its format; `problems` says where and why. Caught by `lrfinder.config.files`."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problem.message for problem in self.problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """Plain data (mappings, lists, scalars), where it stands, and what was already found wrong with it."""

    data: Any
    keys: dict[KeyPath, Place]
    values: dict[KeyPath, Place]
    problems: tuple[Problem, ...] = ()

    def place(self, path: KeyPath, *, of_key: bool = False) -> Place:
        """Return where the value (or the key) at `path` stands; the nearest thing around it if it isn't there."""
        first, second = (self.keys, self.values) if of_key else (self.values, self.keys)
        while path:
            found = first.get(path) or second.get(path)
            if found:
                return found
            path = path[:-1]
        return Place(1, 1)


@dataclass(slots=True)
class _Open:
    """A mapping or a list that is still being read; `key` is the one whose value comes next."""

    container: dict[str, Any] | list[Any]
    path: KeyPath
    key: str | None = None


@dataclass(slots=True)
class DocumentBuilder:
    """Build a `Document` from the order in which things are read: open, scalar, ..., close; keys are scalars too."""

    data: Any = None
    keys: dict[KeyPath, Place] = field(default_factory=dict)
    values: dict[KeyPath, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    stack: list[_Open] = field(default_factory=list)

    def open(self, container: dict[str, Any] | list[Any], place: Place) -> None:
        """Begin a mapping or a list; raise UnreadableError if it nests too deep or stands as a key."""
        if len(self.stack) == MAX_DEPTH:
            raise UnreadableError([Problem(place, too_deep())])
        self.stack.append(_Open(container, self._add(container, place)))

    def close(self) -> None:
        """End the mapping or list that was opened last."""
        self.stack.pop()

    def scalar(self, value: Any, place: Place) -> None:
        """Take a key or a value; raise UnreadableError for a key that is not text."""
        top = self.stack[-1] if self.stack else None
        if top is not None and isinstance(top.container, dict) and top.key is None:
            self._begin_key(top, value, place)
        else:
            self._add(value, place)

    def document(self) -> Document:
        """Return what was built."""
        return Document(data=self.data, keys=self.keys, values=self.values, problems=tuple(self.problems))

    def _begin_key(self, top: _Open, key: Any, place: Place) -> None:
        if not isinstance(key, str):
            comma = f"; if it ends a number, write that with a point: 1.{key}" if type(key) is int else ""
            raise UnreadableError([Problem(place, f"a key must be text, got {key!r}; put it in quotes{comma}")])
        path = (*top.path, key)
        if path in self.keys:
            self.problems.append(duplicate(path, place, self.keys[path]))
        self.keys.setdefault(path, place)
        top.key = key

    def _add(self, value: Any, place: Place) -> KeyPath:
        """Put `value` where it belongs; the first of two values under one key stays."""
        refuse_too_many(self.values, place)
        path: KeyPath = ()
        if self.stack:
            path = self._add_to(self.stack[-1], value, place)
        else:
            self.data = value
        self.values.setdefault(path, place)
        return path

    @staticmethod
    def _add_to(top: _Open, value: Any, place: Place) -> KeyPath:
        if isinstance(top.container, list):
            top.container.append(value)
            return (*top.path, len(top.container) - 1)
        if top.key is None:
            raise UnreadableError([Problem(place, "a key must be text, got a list or a mapping")])
        path = (*top.path, top.key)
        top.container.setdefault(top.key, value)
        top.key = None
        return path


def show_path(path: KeyPath) -> str:
    """Return a key path as people write it: `optimizer.groups[1]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            # A key from a file may hold anything: shown in full only if it can't garble the message.
            shown = part if part.isprintable() and part else ascii(part)
            text += ("." if text else "") + (shown if len(shown) <= 60 else f"{shown[:60]}...")  # noqa: PLR2004
    return text


def duplicate(path: KeyPath, place: Place, first: Place) -> Problem:
    """Return the problem of a key that stands twice in one mapping."""
    where = f"line {first.line}, column {first.column}"
    return Problem(place, f"{show_path(path)}: this key is already at {where}; keep one of the two")


def too_deep() -> str:
    """Return the message on a document that nests beyond `MAX_DEPTH`."""
    return f"nested deeper than {MAX_DEPTH} levels; a schedule config needs 4"


def refuse_too_many(values: Sized, place: Place) -> None:
    """Raise UnreadableError if a document with all of `values` has one more at `place`: no config has so many."""
    if len(values) >= MOST_VALUES:
        message = f"more than {MOST_VALUES} values; a schedule config has fewer, whatever its table"
        raise UnreadableError([Problem(place, message)])
