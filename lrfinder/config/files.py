"""Load a schedule config from a file, and write one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from pydantic import ValidationError

from lrfinder.config import json_format, toml_format, yaml_format
from lrfinder.config.document import Document, KeyPath, Problem, UnreadableError, show_path
from lrfinder.config.model import VERSION, ScheduleConfig
from lrfinder.config.problems import explain, in_order, show_value
from lrfinder.errors import CONTROL, ConfigError
from lrfinder.files import UnfitFileError, read_limited, write_named
from lrfinder.formatting import quoted
from lrfinder.paths import check_target

# A table of 10,000 points takes 0.6 MB; no format's reader takes a second for this much.
MAX_BYTES = 1024 * 1024
_MOST_BITS = 4096  # of a whole number; Python doesn't print the longest ones
SCHEMA_FILE = "schedule.schema.json"  # as `lrfinder schedule schema --write` is told to name it
# The first line by which editors find the schema: of the YAML language server, and of Taplo for TOML.
_MODELINES = {
    ".yaml": "# yaml-language-server: $schema=",
    ".yml": "# yaml-language-server: $schema=",
    ".toml": "#:schema ./",
}
MOST_PROBLEMS = 20  # reported at once: a file with more is not nearly a schedule config


class Format(NamedTuple):
    """How one kind of file is read and written."""

    read: Callable[[str], Document]
    write: Callable[[dict[str, Any], str], str]


_YAML = Format(yaml_format.read, yaml_format.write)

# The format of a config, by the suffix of its file.
FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        ".yaml": _YAML,
        ".yml": _YAML,
        ".json": Format(json_format.read, json_format.write),
        ".toml": Format(toml_format.read, toml_format.write),
    }
)


def load_schedule(path: str | os.PathLike[str]) -> ScheduleConfig:
    """Return the schedule config in a YAML, JSON or TOML file, chosen by its suffix.

    Raises ConfigError, which names every problem of the file with its line and column.
    """
    what, hint = "schedule config", "write one with `lrfinder recommend --write PATH`, or check the path"
    return _judged(read_document(Path(path), what=what, hint=hint), str(path))


def read_document(file: Path, *, what: str, hint: str) -> Document:
    """Return what a YAML, JSON or TOML file holds, chosen by its suffix, with the places of its keys and values.

    `what` is the file's kind in messages, `hint` what to do if it is not there. Raises ConfigError for a file that
    can't be read, or isn't valid in its format.
    """
    chosen = _format_of(file, what)
    return _document(_read_text(file, what, hint), chosen, str(file))


def parse_schedule(text: str, *, suffix: str, where: str) -> ScheduleConfig:
    """Return the schedule config in `text`, of the format that `suffix` names; `where` is its name in messages.

    Raises ConfigError, which names every problem of the text with its line and column.
    """
    return _judged(_document(text, FORMATS[suffix], where), where)


def format_schedule(config: ScheduleConfig, *, suffix: str, file_name: str = "schedule.yaml") -> str:
    """Return `config` as text, of the format that `suffix` names; `file_name` is the one that its comment loads.

    Raises ConfigError for a text with a control character: no reader would accept it.
    """
    data = config.as_data()
    for path, value in _leaves(data):
        if isinstance(value, str) and CONTROL.search(value):
            raise ConfigError(f"{show_path(path)}: a control character can't stand in a config, got {value!a}")
    return FORMATS[suffix].write(data, _header(config, file_name))


def check_config_target(file: Path) -> None:
    """Raise what `dump` raises for a path that can't be one, before a training that would be lost."""
    _format_of(file, "schedule config")
    check_target(file)


def dump(config: ScheduleConfig, path: str | os.PathLike[str]) -> None:
    """Write `config` to `path`, as YAML, JSON or TOML by its suffix; the file is replaced whole or left as it was.

    Beside a SCHEMA_FILE its first line, but in JSON, tells editors to use that. Raises ConfigError for another suffix,
    UsageError if the folder is not there, EnvironmentFailure if the disk refuses.
    """
    file = Path(path)
    check_config_target(file)
    suffix = file.suffix.lower()
    text = format_schedule(config, suffix=suffix, file_name=file.name)
    if suffix in _MODELINES and (file.parent / SCHEMA_FILE).is_file():
        text = f"{_MODELINES[suffix]}{SCHEMA_FILE}\n{text}"
    write_named(file, text.encode())


def _header(config: ScheduleConfig, file_name: str) -> str:
    # Quoted as in Python, so that no file name can end the comment.
    loaded = f"load_schedule({quoted(file_name)})"
    growing = (
        ""
        if config.batch is None
        else f"\n    loader = DataLoader(data, batch_sampler={loaded}.batches(RandomSampler(data)))"
    )
    return (
        "Learning-rate schedule by lrfinder. In the training script, with scheduler.step() after optimizer.step():\n"
        "    from lrfinder import load_schedule\n"
        f"    scheduler = {loaded}.scheduler(optimizer){growing}"
    )


def _format_of(file: Path, what: str) -> Format:
    chosen = FORMATS.get(file.suffix.lower())
    if chosen is None:
        known = ", ".join(FORMATS)
        raise ConfigError(
            f"{file}: a {what} ends in {known}, not in {file.suffix!r}",
            hint="rename it, or name another file",
        )
    return chosen


def _read_text(file: Path, what: str, hint: str) -> str:
    try:
        return _decode(read_limited(file, MAX_BYTES), file)
    except UnfitFileError as error:
        raise ConfigError(f"{file}: {error}, so not a {what}") from None
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file", hint=hint) from None
    except OSError as error:
        raise ConfigError(f"{file}: can't be read: {error.strerror or error}") from error


def _decode(raw: bytes, file: Path) -> str:
    try:
        return raw.decode("utf-8-sig")  # some editors begin a file with a byte order mark
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        message = f"{file}:{line}:{column}: byte 0x{raw[error.start]:02x} is not UTF-8 text"
        raise ConfigError(message, hint="save the file as UTF-8") from None


def _document(text: str, chosen: Format, where: str) -> Document:
    try:
        document = chosen.read(text)
    except UnreadableError as error:
        raise config_error(where, list(error.problems)) from None
    problems = [
        Problem(document.place(path), f"a control character can't stand in a config, got {value!a}")
        if isinstance(value, str)
        else Problem(document.place(path), f"a whole number of {value.bit_length()} bits is too long to be read")
        for path, value in _leaves(document.data)
        if (isinstance(value, str) and CONTROL.search(value))
        or (isinstance(value, int) and value.bit_length() > _MOST_BITS)
    ]
    if problems:
        raise config_error(where, problems)
    return document


def _leaves(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Yield every key and every value of a document that holds no others, with its path."""
    if not isinstance(value, dict | list):
        yield path, value
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        if isinstance(key, str):
            yield (*path, key), key
        yield from _leaves(part, (*path, key))


def _judged(document: Document, where: str) -> ScheduleConfig:
    _refuse_other_kinds(document, where)
    problems = list(document.problems)
    if "version" not in document.data:
        problems.append(Problem(document.place(()), f"version: missing; add version: {VERSION}"))
    try:
        config = ScheduleConfig.model_validate(document.data)
    except ValidationError as error:
        raise config_error(where, [*problems, *explain(error, document)]) from None
    if problems:
        raise config_error(where, problems)
    return config


def _refuse_other_kinds(document: Document, where: str) -> None:
    """Report first what makes every other complaint pointless: an empty file, no mapping, a newer version."""
    hint = "A schedule config begins with `version: 1`; `lrfinder recommend --write PATH` writes one"
    if document.data is None:
        raise ConfigError(f"{where}:1:1: the file is empty", hint=hint)
    if not isinstance(document.data, dict):
        place = document.place(())
        message = f"expected a mapping with the keys version, optimizer and schedule, got {show_value(document.data)}"
        raise ConfigError(f"{where}:{place.line}:{place.column}: {message}", hint=hint)
    version = document.data.get("version")
    if isinstance(version, int) and not isinstance(version, bool) and version > VERSION:
        place = document.place(("version",))
        message = f"version: {version} was written by a newer lrfinder; this one reads version {VERSION}"
        hint = "upgrade: pip install --upgrade lrfinder"
        raise ConfigError(f"{where}:{place.line}:{place.column}: {message}", hint=hint)


def config_error(where: str, problems: list[Problem], *, hint: str | None = None) -> ConfigError:
    """Return the error that lists the problems of a file, each with its line and column."""
    first = in_order(problems)[:MOST_PROBLEMS]
    lines = [f"{where}:{place.line}:{place.column}: {message}" for place, message in first]
    if len(problems) > len(first):
        lines.append(f"... and {len(problems) - len(first)} more problems")
    return ConfigError("\n".join(lines), hint=hint)
