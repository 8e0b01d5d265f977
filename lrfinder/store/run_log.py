"""Short runs in a file, one JSON document a line, appended as they end; a line that was cut short is left out."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from lrfinder.errors import CONTROL, RunError
from lrfinder.files import AppendFile, check_process, disk_errors, read_measured
from lrfinder.records import ShortRun
from lrfinder.store.layout import MOST_UPDATES, SHORT_RUN

_AGAIN = "the file is damaged or was edited; remove that line"
_MAX_BYTES = 256 * 2**20  # a run is about 300 bytes: anything larger is not a log, and would fill the memory


class RunLog:
    """A log being written. Use as a context manager. A torn last line is removed before the first one is added."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._owner = os.getpid()
        self._lines: AppendFile | None = None
        self._held = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._lines is not None:
            self._lines.close()
            self._lines = None

    def hold(self) -> tuple[ShortRun, ...]:
        """Keep other processes from adding runs until this is closed, and return those that are there.

        Raises RunError if another process has done so, and with file and line if a line is damaged.
        """
        self._held = True
        with disk_errors(self._path):
            lines = self._opened().read().split(b"\n")[:-1]
        return tuple(_run(line, number, self._path) for number, line in enumerate(lines, start=1))

    def keep(self, count: int) -> None:
        """Cut the log after its first `count` runs; no file is created if there is none."""
        if self._path.exists():
            with disk_errors(self._path):
                self._opened().keep(count)

    def add(self, run: ShortRun) -> None:
        """Append a run, and sync it to the disk: a run costs far more than that."""
        check_process(self._owner)
        with disk_errors(self._path):
            try:
                self._opened().add([json.dumps(SHORT_RUN.dump_python(run, mode="json"), allow_nan=False)])
                self._opened().sync()
            except OSError:
                self.__exit__()  # the next one must not be appended to a torn line: opening again cuts that
                raise

    def _opened(self) -> AppendFile:
        if self._lines is None:
            lines = AppendFile(self._path)
            if self._held and not lines.lock():
                lines.close()
                raise RunError(
                    f"{self._path}: another process is making trials of this run",
                    hint="let it end, or end it: then the same command makes only what is missing",
                )
            lines.keep()
            self._lines = lines
        return self._lines


def read_log(path: Path) -> tuple[ShortRun, ...]:
    """Return the runs of a log, in order; none if there is no file. Raises RunError, with file and line."""
    if not path.exists():
        return ()
    # What follows the last newline is torn, or nothing.
    lines = read_measured(path, limit=_MAX_BYTES, kind="file of lrfinder's").split(b"\n")[:-1]
    return tuple(_run(line, number, path) for number, line in enumerate(lines, start=1))


def _run(line: bytes, number: int, path: Path) -> ShortRun:
    try:
        run = SHORT_RUN.validate_json(line, strict=True)
    except ValidationError as error:
        first: Any = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise RunError(f"{path}:{number}: {f'{place}: ' if place else ''}{first['msg']}", hint=_AGAIN) from None
    for name, value in (("plan.lr", run.plan.lr), ("loss", run.loss), ("initial_loss", run.initial_loss)):
        if value is not None and not math.isfinite(value):
            raise RunError(f"{path}:{number}: {name}: expected a finite number, got {value}", hint=_AGAIN)
    for text in (run.why, run.note, run.metric, run.plan.schedule):
        if CONTROL.search(text):
            raise RunError(f"{path}:{number}: a control character in {text[:80]!a}", hint=_AGAIN)
    least = min(run.plan.steps, run.plan.batches if run.plan.batches is not None else 1)
    if run.plan.lr <= 0 or least < 1 or not 0 <= run.updates <= MOST_UPDATES:
        raise RunError(f"{path}:{number}: plan: a rate, a length and batches above 0 are needed", hint=_AGAIN)
    return run
