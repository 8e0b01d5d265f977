"""The rates that a run logged: Hugging Face's trainer_state.json, Lightning's metrics.csv, or step and lr."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrfinder.errors import UsageError
from lrfinder.files import UnfitFileError, read_limited

_MAX_BYTES = 2**28  # millions of logged steps
_STEPS = ("step", "global_step", "update", "iteration")
_RATES = ("lr", "learning_rate", "train/learning_rate")
_GROUP = "lr_"  # lr_0, lr_1, ...: several param groups in what `lrfinder run` logs
_LIGHTNING = "lr-"  # LearningRateMonitor: lr-AdamW, lr-AdamW/pg1, ...; its other columns end in one of these:
_NO_RATES = ("-momentum", "-weight_decay")
_HINT = (
    "it takes a Trainer's trainer_state.json, the metrics.csv of Lightning's CSVLogger with a LearningRateMonitor, or "
    "a CSV file with the columns step,lr"
)


@dataclass(frozen=True, slots=True)
class LoggedRate:
    """A rate that a log names for a step, and the epoch in which that was, if it is known."""

    step: int
    rate: float
    epoch: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RateColumn:
    """The logged rates of one param group, in the order of the log; `name` is the log's."""

    name: str
    points: tuple[LoggedRate, ...]


def read_rates(path: Path) -> tuple[RateColumn, ...]:
    """Return the rates in a log, a column for each param group that it has.

    Raises UsageError, with the place in the file, for what is no such log or holds no rate.
    """
    try:
        text = read_limited(path, _MAX_BYTES).decode("utf-8-sig")
    except UnfitFileError as error:
        raise UsageError(f"{path}: {error}", hint=_HINT) from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 text (byte {error.start})", hint=_HINT) from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}", hint="check the path") from None
    rows = _of_json(text, path) if path.suffix == ".json" else _of_csv(text, path)
    columns: dict[str, list[LoggedRate]] = {}
    for where, row in rows:
        step = next((row[name] for name in _STEPS if _is_given(row.get(name))), None)
        for name, value in row.items():
            if _is_rate(name) and _is_given(value):
                columns.setdefault(name, []).append(_point(step, name, value, row.get("epoch"), where))
    if not columns:
        raise UsageError(f"{path}: no rate is logged in it", hint=_HINT)
    return tuple(RateColumn(name=name, points=tuple(points)) for name, points in columns.items())


def _of_json(text: str, path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        data = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{path}: not valid JSON: {error}", hint=_HINT) from None
    history = data.get("log_history") if isinstance(data, dict) else data
    if not isinstance(history, list) or not all(isinstance(row, dict) for row in history):
        raise UsageError(f"{path}: no log_history in it, a list of objects", hint=_HINT)
    for number, row in enumerate(history):
        yield f"{path}: log_history[{number}]", row


def _of_csv(text: str, path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        header: Sequence[str] = reader.fieldnames or ()
        if not set(header) & set(_STEPS) or not any(map(_is_rate, header)):
            raise UsageError(f"{path}:1: no columns step and lr in the header {','.join(header)[:80]!r}", hint=_HINT)
        for row in reader:
            yield f"{path}:{reader.line_num}", row
    except csv.Error as error:
        raise UsageError(f"{path}:{reader.line_num}: {error}", hint=_HINT) from None


def _is_rate(name: str | None) -> bool:
    if name is None:  # of the cells behind the last column of the header
        return False
    of_group = name.startswith(_GROUP) and name.removeprefix(_GROUP).isdigit()
    return name in _RATES or of_group or (name.startswith(_LIGHTNING) and not name.endswith(_NO_RATES))


def _is_given(value: Any) -> bool:
    return value is not None and value != ""


def _point(step: Any, name: str, rate: Any, epoch: Any, where: str) -> LoggedRate:
    try:
        whole, found = float(step), float(rate)
    except (TypeError, ValueError):
        whole = found = math.nan
    if not (whole >= 0 and whole.is_integer() and found >= 0 and math.isfinite(found)):
        got = f"step {step!r} and {name} {rate!r}"
        raise UsageError(f"{where}: expected a whole step and a rate, numbers of at least 0, got {got}", hint=_HINT)
    try:
        known = float(epoch) if _is_given(epoch) else None
    except (TypeError, ValueError):
        known = None
    return LoggedRate(int(whole), found, known)
