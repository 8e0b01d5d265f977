"""The log of a run's gradient norms: update, l1, l2, a line each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from lrfinder.errors import RunError
from lrfinder.files import read_measured_text

HEADER = "update,l1,l2"
_MAX_BYTES = 2**30  # twenty million updates; anything larger is not such a log, and would fill the memory


@dataclass(frozen=True, slots=True, kw_only=True)
class NormLog:
    """The norms of updates 0, 1, 2, ... of one run: `l1[t]` and `l2[t]` are those of the gradient of update t.

    NaN if one was not recorded.
    """

    l1: tuple[float, ...]
    l2: tuple[float, ...]


def read_norms(path: Path) -> NormLog:
    """Read a log that a scheduler recorded. Raises RunError, with file and line, if it is not such a log.

    If a run was carried on from an earlier update, or begun again, its later lines replace those from there on. A
    last line without its newline was cut short, and is left out.
    """
    text = read_measured_text(path, limit=_MAX_BYTES, kind="log of gradient norms", again=_AGAIN)
    lines = text.split("\n")
    if lines[0] != HEADER:
        raise RunError(f"{path}:1: expected the header {HEADER}, got {lines[0][:80]!r}", hint=_AGAIN)
    l1: list[float] = []
    l2: list[float] = []
    for number, line in enumerate(lines[1:-1], start=2):
        update, first, second = _row(line, number, path)
        missing = update - len(l1)
        if missing > len(lines):
            raise RunError(f"{path}:{number}: update {update} comes behind {len(l1)} updates", hint=_AGAIN)
        for norms, value in ((l1, first), (l2, second)):
            norms[update:] = [*[math.nan] * missing, value]
    if not l1:
        raise RunError(f"{path}: no update was recorded", hint=_AGAIN)
    return NormLog(l1=tuple(l1), l2=tuple(l2))


_AGAIN = 'record one: `config.scheduler(optimizer, record="norms.csv")` in the training script'


def _row(line: str, number: int, path: Path) -> tuple[int, float, float]:
    try:
        update, l1, l2 = line.split(",")
        row = int(update), float(l1), float(l2)
    except ValueError:
        raise RunError(f"{path}:{number}: expected three numbers, got {line[:80]!r}", hint=_AGAIN) from None
    if row[0] < 0 or row[1] < 0 or row[2] < 0:
        raise RunError(f"{path}:{number}: expected numbers of at least 0, got {line[:80]!r}", hint=_AGAIN)
    return row
