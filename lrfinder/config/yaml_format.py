"""YAML: 1.2, read from the parser's events, so that no tag ever makes an object; written for 1.1 readers, too."""

from __future__ import annotations

import io
import re
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.representer import RoundTripRepresenter
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from lrfinder.config.document import Document, DocumentBuilder, Place, Problem, UnreadableError, places_in

_TAG = "tag:yaml.org,2002:"

# Text that every YAML reader takes for text when it stands without quotes: words, paths, and versions such as 2.13.0.
# YAML 1.1 (PyYAML) would read some words as booleans.
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*(?: [A-Za-z0-9_./-]+)*|[0-9]+\.[0-9]+\.[0-9]+[A-Za-z0-9_.+]*", re.ASCII)
_NOT_TEXT = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})

_LONGEST_INTEGER = 1000  # characters; Python reads longer ones if they are hexadecimal, and then can't print them
_ONE_LINE = 1_000_000  # columns: wider than any section, so that each stays on its line


def read(text: str) -> Document:
    """Return the document in `text`; raise UnreadableError with line and column for what is not a plain YAML document.

    Aliases, tags, further documents and other YAML versions are refused: a config needs none of them, and each has
    been used to make a small file large or to run code.
    """
    builder = DocumentBuilder()
    yaml = YAML(typ="safe", pure=True)
    try:
        for event in yaml.parse(text):
            _take(event, builder, yaml)
    except ReaderError as error:
        message = f"a control character (U+{ord(text[error.position]):04X}) can't stand in a YAML file"
        raise UnreadableError([Problem(places_in(text)(error.position), message)]) from None
    except MarkedYAMLError as error:
        context = f"{error.context}: " if error.context else ""
        tab = "; YAML indents by spaces, not by tabs" if "'\\t'" in str(error.problem) else ""
        raise UnreadableError(
            [Problem(_place(error.problem_mark), f"not valid YAML: {context}{error.problem}{tab}")]
        ) from None
    except YAMLError as error:
        raise UnreadableError([Problem(Place(1, 1), f"not valid YAML: {error}")]) from None
    return builder.document()


def _take(event: Any, builder: DocumentBuilder, yaml: YAML) -> None:
    """Hand one parser event to the builder."""
    _refuse_extras(event, builder)
    match event:
        case ScalarEvent():
            builder.scalar(_scalar(event, yaml), _place(event.start_mark))
        case MappingStartEvent():
            builder.open({}, _place(event.start_mark))
        case SequenceStartEvent():
            builder.open([], _place(event.start_mark))
        case MappingEndEvent() | SequenceEndEvent():
            builder.close()


def _refuse_extras(event: Any, builder: DocumentBuilder) -> None:
    message = None
    if isinstance(event, AliasEvent):
        message = f"aliases (*{event.anchor}) are not supported; write the value out"
    elif getattr(event, "tag", None):
        message = f"tags ({event.tag}) are not supported; remove the tag"
    elif isinstance(event, DocumentStartEvent) and event.version not in {None, (1, 2)}:
        message = "only YAML 1.2 is read; remove the %YAML line"
    elif isinstance(event, DocumentStartEvent) and builder.values:
        message = "a second document begins here; a config is one document"
    if message:
        raise UnreadableError([Problem(_place(event.start_mark), message)])


def _scalar(event: ScalarEvent, yaml: YAML) -> Any:
    """Return the value of a scalar by YAML 1.2's core rules: 1e-3 is a number, yes is text."""
    text = event.value
    kind = str(yaml.resolver.resolve(ScalarNode, text, event.implicit)).removeprefix(_TAG)
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "float":
        return float(text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))
    if kind == "int":
        return _integer(text, _place(event.start_mark))
    return text  # dates and the like, too: a config has no use for them but as text


def _integer(text: str, place: Place) -> int:
    try:
        return int(text if len(text) <= _LONGEST_INTEGER else "too long", 0)
    except ValueError:  # 017, which YAML 1.1 reads as 15 and 1.2 as 17; or more digits than Python converts
        shown = text if len(text) <= 40 else f"{text[:40]}..."  # noqa: PLR2004 - enough to find it
        message = f"{shown} is not a whole number that can be read; write it in decimal, without leading zeros"
        raise UnreadableError([Problem(place, message)]) from None


def _place(mark: Any) -> Place:
    return Place(mark.line + 1, mark.column + 1)


class _Representer(RoundTripRepresenter):
    """Numbers and text so that YAML 1.1 readers (PyYAML) get the same values as 1.2 readers."""


def _represent_float(representer: _Representer, value: float) -> Any:
    # The shortest text that reads back exactly; 1e-05 becomes 1.0e-05, since YAML 1.1 takes 1e-05 for text.
    text = repr(value)
    return representer.represent_scalar(f"{_TAG}float", text if "." in text else text.replace("e", ".0e"))


_Representer.add_representer(float, _represent_float)


def write(data: dict[str, Any], header: str) -> str:
    """Return `data` as YAML, one line per section, below `header` as a comment."""
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.width = _ONE_LINE
    out = io.StringIO()
    yaml.dump(CommentedMap((key, _flow(value)) for key, value in data.items()), out)
    return "".join(f"# {line}\n" for line in header.splitlines()) + out.getvalue()


def _flow(value: Any) -> Any:
    """Return `value` in the types by which ruamel.yaml chooses flow style and quotes."""
    if isinstance(value, dict):
        mapping = CommentedMap((_flow(key), _flow(item)) for key, item in value.items())
        mapping.fa.set_flow_style()
        return mapping
    if isinstance(value, list):
        return _flow_list([_flow(item) for item in value])
    if isinstance(value, str) and not (_PLAIN.fullmatch(value) and value.lower() not in _NOT_TEXT):
        return DoubleQuotedScalarString(value)
    return value


def _flow_list(items: list[Any]) -> Any:
    sequence = CommentedSeq(items)
    sequence.fa.set_flow_style()
    return sequence
