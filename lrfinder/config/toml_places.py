"""Where the keys and values of a TOML text stand. Python's TOML readers don't say, so the text is walked here.

The walk doesn't judge the syntax, which `tomllib` does: on a text that is not TOML it finds something or nothing, but
always ends. On TOML it visits every key and value once.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

from lrfinder.config.document import (
    MAX_DEPTH,
    KeyPath,
    Place,
    Problem,
    UnreadableError,
    duplicate,
    places_in,
    refuse_too_many,
    too_deep,
)

_TOKEN = re.compile(
    r'''(?P<skip>[ \t\r]+|\#[^\n]*)
      | (?P<newline>\n)
      | (?P<string>"""(?:[^\\]|\\.)*?"""+ | \'\'\'.*?\'\'\'+ | "(?:[^"\\\n]|\\.)*" | '[^'\n]*')
      | (?P<mark>[\[\]{},=.])
      | (?P<bare>[^\s\[\]{},=.\#"']+)
      | (?P<other>.)''',
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    offset: int


@dataclass(slots=True)
class Places:
    """Where each key and value stands, and the keys that stand twice."""

    keys: dict[KeyPath, Place] = field(default_factory=dict)
    values: dict[KeyPath, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def find_places(text: str) -> Places:
    """Return the places of everything in a TOML text; raise UnreadableError if it nests too deep."""
    walk = _Walk(text)
    walk.document()
    return walk.places


class _Walk:
    """One pass over the tokens; `self.at` is the next one."""

    def __init__(self, text: str) -> None:
        self.place_of = places_in(text)
        matches = (_Token(str(m.lastgroup), m.group(), m.start()) for m in _TOKEN.finditer(text))
        self.tokens = [token for token in matches if token.kind != "skip"]
        self.tokens.append(_Token("end", "", len(text)))
        self.at = 0
        self.places = Places()
        self.assigned: set[KeyPath] = set()  # the keys that were given a value, and the tables that had a header
        self.counts: dict[KeyPath, int] = {}  # how many `[[name]]` there were

    @property
    def next(self) -> _Token:
        return self.tokens[self.at]

    def advance(self) -> _Token:
        token = self.next
        self.at = min(self.at + 1, len(self.tokens) - 1)
        return token

    def accept(self, text: str) -> bool:
        """Step over the next token if it is the mark `text`."""
        found = self.next.kind == "mark" and self.next.text == text
        if found:
            self.advance()
        return found

    def skip_newlines(self) -> None:
        while self.next.kind == "newline":
            self.advance()

    def skip_line(self) -> None:
        while self.next.kind not in {"newline", "end"}:
            self.advance()

    def document(self) -> None:
        """Walk over every header and every `key = value`."""
        table: KeyPath = ()
        self.skip_newlines()
        while self.next.kind != "end":
            if self.next.text == "[" and self.next.kind == "mark":
                table = self.header()
            else:
                self.assignment(table)
            self.skip_line()
            self.skip_newlines()

    def header(self) -> KeyPath:
        """Walk over `[a.b]` or `[[a.b]]` and return the path of the table that it begins."""
        begin = self.advance()
        is_list = self.accept("[")
        path, place = self.key((), in_header=True)
        if is_list:
            count = self.counts.get(path, 0)
            self.counts[path] = count + 1
            path = (*path, count)
        elif path:
            self.assign(path, place)
        self.hold(path, self.place_of(begin.offset))
        return path

    def assignment(self, table: KeyPath) -> None:
        """Walk over `key = value` below `table`."""
        before = self.at
        path, place = self.key(table)
        if path != table and self.accept("="):
            self.assign(path, place)
            self.value(path)
        if self.at == before:  # not TOML; go on behind it
            self.advance()

    def hold(self, path: KeyPath, place: Place) -> None:
        refuse_too_many(self.places.values, place)
        self.places.values.setdefault(path, place)

    def assign(self, path: KeyPath, place: Place) -> None:
        if path in self.assigned:
            self.places.problems.append(duplicate(path, place, self.places.keys[path]))
        self.assigned.add(path)

    def key(self, table: KeyPath, *, in_header: bool = False) -> tuple[KeyPath, Place]:
        """Walk over `a.b.c` and return its path below `table`, and the place of its last part."""
        path, place = table, self.place_of(self.next.offset)
        while self.next.kind in {"bare", "string"}:
            token = self.advance()
            place = self.place_of(token.offset)
            path = (*path, _name(token))
            self.places.keys.setdefault(path, place)
            if len(path) > MAX_DEPTH:
                raise UnreadableError([Problem(place, too_deep())])
            if in_header and path in self.counts and self.next.text == ".":
                path = (*path, self.counts[path] - 1)  # `[a.b]` below `[[a]]` belongs to the latest a
            if not self.accept("."):
                break
        return path, place

    def value(self, path: KeyPath) -> None:
        """Walk over a value, whose path is `path`."""
        place = self.place_of(self.next.offset)
        if len(path) >= MAX_DEPTH and self.next.text in {"[", "{"}:
            raise UnreadableError([Problem(place, too_deep())])
        self.hold(path, place)
        if self.accept("["):
            self.array(path)
        elif self.accept("{"):
            self.inline_table(path)
        else:  # a string, or a number or a date, which may be several tokens
            while self.next.kind in {"bare", "string", "other"} or self.next.text == ".":
                self.advance()

    def array(self, path: KeyPath) -> None:
        index = 0
        self.skip_newlines()
        while self.next.kind != "end" and not self.accept("]"):
            before = self.at
            self.value((*path, index))
            index += 1
            self.skip_newlines()
            self.accept(",")
            self.skip_newlines()
            if self.at == before:
                self.advance()

    def inline_table(self, path: KeyPath) -> None:
        self.skip_newlines()
        while self.next.kind != "end" and not self.accept("}"):
            self.assignment(path)
            self.skip_newlines()
            self.accept(",")
            self.skip_newlines()


def _name(token: _Token) -> str:
    """Return the key that a token writes, without its quotes."""
    if token.kind == "bare" or not token.text.startswith('"'):
        return token.text.strip("'")
    return _unescape(token.text)


def _unescape(text: str) -> str:
    r"""Return a TOML basic string's value: JSON's escapes, and \U with eight digits."""
    try:
        return str(json.loads(re.sub(r"\\U([0-9A-Fa-f]{8})", lambda m: json.dumps(chr(int(m[1], 16)))[1:-1], text)))
    except (ValueError, OverflowError):
        return text
