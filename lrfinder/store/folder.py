"""Writing a run folder, as the sweep goes."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import time
from io import FileIO
from pathlib import Path
from typing import Any, Self

from lrfinder.errors import RunError
from lrfinder.files import disk, write_atomic
from lrfinder.records import Mode, Point, RunPlan, Setup, ShortRun, SweepSettings, Trace
from lrfinder.store.layout import (
    COLUMNS,
    CURVE,
    FORMAT,
    RUN,
    RUNS_FOLDER,
    SETTINGS,
    SETUP,
    SHORT_RUNS,
    SOURCE,
    TRACE,
    VERSION,
)
from lrfinder.store.run_log import RunLog
from lrfinder.store.source import Source

_SYNC_SECONDS = 1.0  # a power cut loses at most this much; syncing every line would cost more than most updates


class RunFolder:
    """A run folder being written: an observer of the sweep. Use as a context manager: leaving it closes the curve."""

    def __init__(self, path: Path, *, source: Source, settings: SweepSettings, created_by: str) -> None:
        """Take an empty folder; `create` makes one."""
        self.path = path
        self._header: dict[str, Any] = {
            "format": FORMAT,
            "version": VERSION,
            "created_by": created_by,
            "source": SOURCE.dump_python(source, mode="json"),
            "settings": SETTINGS.dump_python(settings, mode="json"),
        }
        self._restart = settings.mode is Mode.RESTART
        self._prepared = False
        self._traces: list[Trace] = []
        self._log = RunLog(path / SHORT_RUNS)
        self._runs = 0
        self._curve: FileIO | None = None
        self._synced = 0.0
        self._repeat: int | None = None
        self._began = 0  # where its points begin in the curve

    @classmethod
    def create(cls, out: Path | None, *, model: str, source: Source, settings: SweepSettings, created_by: str) -> Self:
        """Make the folder `out`, or `lrfinder-runs/<model>-<time>`; two runs started at once get two folders.

        Raises RunError where `out` already holds something, EnvironmentFailure where it can't be made.
        """
        path = _take(out) if out is not None else _make(model)
        return cls(path, source=source, settings=settings, created_by=created_by)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._log.__exit__()
        if self._curve is not None:
            self._curve.close()
            self._curve = None
        if not self._prepared:
            with contextlib.suppress(OSError):  # nothing was measured: an empty folder would only be in the way
                self.path.rmdir()

    def repeat_started(self, repeat: int) -> None:
        """Take the points of a repeat that begins anew off the curve again."""
        if self._curve is not None:
            if repeat == self._repeat:
                with disk(self.path / CURVE):
                    self._curve.truncate(self._began)
                    self._curve.seek(self._began)
            self._began = self._curve.tell()
        self._repeat = repeat

    def prepared(self, setup: Setup) -> None:
        """Write run.json and the curve's header: from here on the folder can be read, whatever happens."""
        self._header["setup"] = SETUP.dump_python(setup, mode="json")
        self._prepared = True
        self._write_run()
        with disk(self.path / CURVE):
            # Unbuffered: each line is one write, so a killed run has every point that was measured.
            self._curve = (self.path / CURVE).open("wb", buffering=0)
            self._curve.write((",".join(COLUMNS) + "\n").encode())
            self._began = self._curve.tell()

    def measured(self, point: Point) -> None:
        """Append one point to curve.csv."""
        self._append(point)

    def _append(self, point: Point) -> None:
        if self._curve is None:
            raise RuntimeError("RunFolder.measured() before prepared()")
        with disk(self.path / CURVE):
            self._curve.write(f"{point.repeat},{point.step},{point.lr!r},{point.loss!r}\n".encode())
            now = time.monotonic()
            if now - self._synced > _SYNC_SECONDS:
                os.fsync(self._curve.fileno())
                self._synced = now

    def repeat_ended(self, trace: Trace) -> None:
        """Note in run.json how a repeat ended."""
        if self._prepared:
            self._traces.append(trace)
            self._write_run()

    def run_started(self, plan: RunPlan) -> None:
        """Do nothing: a short run is noted when it has ended."""

    def run_updated(self, plan: RunPlan, updates: int, loss: float) -> None:
        """Do nothing: what counts of a short run is its end."""

    def run_ended(self, run: ShortRun) -> None:
        """Append a short run to runs.jsonl; where the sweep has no continuous part, also as a point of curve.csv."""
        if not self._prepared:
            return
        self._log.add(run)
        if self._restart:
            loss = math.nan if run.loss is None else run.loss
            self._append(Point(repeat=run.plan.repeat, step=self._runs, lr=run.plan.lr, loss=loss))
        self._runs += 1

    def _write_run(self) -> None:
        document = {**self._header, "repeats": [_ending(trace) for trace in self._traces]}
        write_atomic(self.path / RUN, (json.dumps(document, indent=1, allow_nan=False) + "\n").encode())


def _ending(trace: Trace) -> dict[str, Any]:
    """Return a repeat without its points, which curve.csv has; JSON knows no NaN: such an initial loss is unknown."""
    row: dict[str, Any] = TRACE.dump_python(trace, mode="json", exclude={"lrs", "losses"})
    first = trace.initial_loss
    return {**row, "initial_loss": first if first is not None and math.isfinite(first) else None}


def _take(path: Path) -> Path:
    with disk(path):
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise RunError(f"{path}: the folder is not empty", hint="name a new one with --out")
    return path


def _make(model: str) -> Path:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    names = itertools.chain([stamp], (f"{stamp}-{number}" for number in itertools.count(2)))
    with disk(Path(RUNS_FOLDER)):
        return next(path for path in (Path(RUNS_FOLDER) / f"{model}-{name}" for name in names) if _is_made(path))


def _is_made(path: Path) -> bool:
    """Make the folder; False where somebody else just did. `mkdir` is atomic: no lock is needed."""
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        return False
    return True
