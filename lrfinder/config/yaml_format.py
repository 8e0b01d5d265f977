"""YAML: 1.2, read from the parser's events, so that no tag ever makes an object; written for 1.1 readers, too."""

from __future__ import annotations

import re
from typing import Any

import yaml

from lrfinder.config.document import Document, DocumentBuilder, Place, Problem, UnreadableError, places_in, too_deep

# libyaml, which PyYAML's wheels bring, reads the longest table in 0.2 s; the same in Python takes seconds.
_READER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_WRITER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

# What YAML 1.2 doesn't allow, and what ends a line for libyaml (by YAML 1.1: U+0085, U+2028, U+2029) but not in 1.2.
_UNFIT = re.compile("[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")

# What a plain scalar is by YAML 1.2's core rules; numbers also in forms that have no other meaning: 1_000, 0b11.
_NULL = re.compile("(?:~|null|Null|NULL)?")
_BOOLEAN = re.compile("true|True|TRUE|false|False|FALSE")
_INTEGER = re.compile("[-+]?(?:0b[01_]+|0o?[0-7_]+|[0-9][0-9_]*|0x[0-9a-fA-F_]+)")
_FLOAT = re.compile(
    r"[-+]?(?:(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+"
    r"|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)"
)
_LONGEST_INTEGER = 1000  # characters; Python reads longer ones if they are hexadecimal, and then can't print them

_TAG = "tag:yaml.org,2002:"
# Text that every YAML reader takes for text when it stands without quotes: words, paths, and versions such as 2.13.0.
# YAML 1.1 (PyYAML) would read some words as booleans.
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*(?: [A-Za-z0-9_./-]+)*|[0-9]+\.[0-9]+\.[0-9]+[A-Za-z0-9_.+]*", re.ASCII)
_NOT_TEXT = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
_ONE_LINE = 1_000_000  # columns: wider than any section, so that each stays on its line


def read(text: str) -> Document:
    """Return the document in `text`; raise UnreadableError with line and column for what is not a plain YAML document.

    Aliases, tags, further documents and other YAML versions are refused: a config needs none of them, and each has
    been used to make a small file large or to run code.
    """
    unfit = _UNFIT.search(text)
    if unfit:
        message = f"a control character (U+{ord(unfit.group()):04X}) can't stand in a YAML file"
        raise UnreadableError([Problem(places_in(text)(unfit.start()), message)])
    builder = DocumentBuilder()
    try:
        for event in yaml.parse(text, Loader=_READER):
            _take(event, builder)
    except yaml.MarkedYAMLError as error:
        raise UnreadableError([_problem(error, text)]) from None
    return builder.document()


def _problem(error: yaml.MarkedYAMLError, text: str) -> Problem:
    place = _place(error.problem_mark)
    if "nesting depth" in error.problem:
        return Problem(place, too_deep())
    context = f"{error.context}: " if error.context else ""
    at = error.problem_mark.index
    tab = "; YAML indents by spaces, not by tabs" if text[at : at + 1] == "\t" else ""
    return Problem(place, f"not valid YAML: {context}{error.problem}{tab}")


def _take(event: yaml.Event, builder: DocumentBuilder) -> None:
    """Hand one parser event to the builder."""
    _refuse_extras(event, builder)
    match event:
        case yaml.ScalarEvent():
            builder.scalar(_scalar(event), _place(event.start_mark))
        case yaml.MappingStartEvent():
            builder.open({}, _place(event.start_mark))
        case yaml.SequenceStartEvent():
            builder.open([], _place(event.start_mark))
        case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
            builder.close()


def _refuse_extras(event: yaml.Event, builder: DocumentBuilder) -> None:
    message = None
    if isinstance(event, yaml.AliasEvent):
        message = f"aliases (*{event.anchor}) are not supported; write the value out"
    elif getattr(event, "tag", None):
        message = f"tags ({event.tag}) are not supported; remove the tag"
    elif isinstance(event, yaml.DocumentStartEvent) and event.version not in {None, (1, 2)}:
        message = "only YAML 1.2 is read; remove the %YAML line"
    elif isinstance(event, yaml.DocumentStartEvent) and builder.values:
        message = "a second document begins here; a config is one document"
    if message:
        raise UnreadableError([Problem(_place(event.start_mark), message)])


def _scalar(event: yaml.ScalarEvent) -> Any:
    """Return the value of a scalar by YAML 1.2's core rules: 1e-3 is a number, yes is text."""
    text = event.value
    if not event.implicit[0]:  # it stands in quotes
        return text
    if _NULL.fullmatch(text):
        return None
    if _BOOLEAN.fullmatch(text):
        return text.lower() == "true"
    if _INTEGER.fullmatch(text):
        return _integer(text, _place(event.start_mark))
    if _FLOAT.fullmatch(text):
        return float(text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text  # dates and the like, too: a config has no use for them but as text


def _integer(text: str, place: Place) -> int:
    try:
        return int(text if len(text) <= _LONGEST_INTEGER else "too long", 0)
    except ValueError:  # 017, which YAML 1.1 reads as 15 and 1.2 as 17; or more digits than Python converts
        shown = text if len(text) <= 40 else f"{text[:40]}..."  # noqa: PLR2004 - enough to find it
        message = f"{shown} is not a whole number that can be read; write it in decimal, without leading zeros"
        raise UnreadableError([Problem(place, message)]) from None


def _place(mark: yaml.Mark) -> Place:
    return Place(mark.line + 1, mark.column + 1)


def write(data: dict[str, Any], header: str) -> str:
    """Return `data` as YAML, one line per section, below `header` as a comment."""
    sections = [(_node(key), _node(value)) for key, value in data.items()]
    document = yaml.MappingNode(f"{_TAG}map", sections, flow_style=False)
    text: str = yaml.serialize(document, Dumper=_WRITER, width=_ONE_LINE, allow_unicode=True)
    return "".join(f"# {line}\n" for line in header.splitlines()) + text


def _node(value: Any) -> yaml.Node:
    """Return `value` as it is to be written: on one line, text in quotes unless every reader takes it for text."""
    if isinstance(value, dict):
        pairs = [(_node(key), _node(item)) for key, item in value.items()]
        return yaml.MappingNode(f"{_TAG}map", pairs, flow_style=True)
    if isinstance(value, list):
        return yaml.SequenceNode(f"{_TAG}seq", [_node(item) for item in value], flow_style=True)
    kind, text = _kind_and_text(value)
    quoted = kind == "str" and not (_PLAIN.fullmatch(text) and text.lower() not in _NOT_TEXT)
    return yaml.ScalarNode(f"{_TAG}{kind}", text, style='"' if quoted else None)


def _kind_and_text(value: Any) -> tuple[str, str]:
    match value:
        case str():
            return "str", value
        case None:
            return "null", "null"
        case bool():
            return "bool", str(value).lower()
        case int():
            return "int", str(value)
    # The shortest text that reads back exactly; 1e-05 becomes 1.0e-05, since YAML 1.1 takes 1e-05 for text.
    text = repr(value)
    return "float", text if "." in text else text.replace("e", ".0e")
