"""Writing a run folder, as the sweep goes."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from lrfinder.engine.observer import Observer
from lrfinder.errors import LrfinderError, RunError
from lrfinder.files import check_process, remove_stale, write_atomic
from lrfinder.records import Mode, Point, Setup, ShortRun, SweepSettings, Trace
from lrfinder.store.curve_file import CurveFile
from lrfinder.store.layout import (
    CURVE,
    FORMAT,
    RUN,
    SETTINGS,
    SETUP,
    SHORT_CURVE,
    SHORT_RUNS,
    SOURCE,
    TRACE,
    VERSION,
)
from lrfinder.store.new_folder import make_folder, not_empty, take_folder
from lrfinder.store.run_log import RunLog
from lrfinder.store.source import Source
from lrfinder.store.unfinished import ResumableRun


class RunFolder(Observer):
    """A run folder being written: an observer of the sweep. Use as a context manager: leaving it closes the curves."""

    def __init__(
        self, path: Path, header: dict[str, Any], *, mode: Mode, made: int = 0, kept: ResumableRun | None = None
    ) -> None:
        """Take an empty folder, or one whose sweep is resumed; `create` and `resume` make and open them.

        So many as were `made` for this sweep, itself and those that it lies in, are removed if nothing is measured.
        """
        self.path = path  # as it was named
        self.place = path.absolute()  # a model file may change the working directory
        self._header = header
        self._restart = mode is Mode.RESTART
        self._made = made
        self._kept = kept
        self._prepared = False
        self._owner = os.getpid()
        self._whole = kept is not None  # until something that was missing arrives
        self._traces: list[Trace] = list(kept.traces) if kept is not None else []
        self._short_sweeps: list[Trace] = list(kept.short_sweeps) if kept is not None else []
        self._log = RunLog(self.place / SHORT_RUNS)
        self._runs = len(kept.runs) if kept is not None else 0
        self._curve = CurveFile(self.place / CURVE)
        self._short_curve: CurveFile | None = None  # of the short sweeps, once they are what is measured

    @classmethod
    def create(
        cls,
        out: Path | None,
        *,
        model: str,
        source: Source,
        settings: SweepSettings,
        created_by: str,
        model_sha256: str | None = None,
    ) -> Self:
        """Make the folder `out`, or `lrfinder-runs/<model>-<time>`; two runs started at once get two folders.

        `model_sha256` is the digest of the model file. Raises RunError if `out` already holds something or is no
        folder, EnvironmentFailure if it can't be made.
        """
        header: dict[str, Any] = {
            "format": FORMAT,
            "version": VERSION,
            "created_by": created_by,
            "source": SOURCE.dump_python(source, mode="json", by_alias=True),
            "model_sha256": model_sha256,
            "settings": SETTINGS.dump_python(settings, mode="json"),
        }
        path, made = take_folder(out) if out is not None else make_folder(model)
        folder = cls(path, header, mode=settings.mode, made=made)
        folder._claim()
        return folder

    @classmethod
    def resume(cls, kept: ResumableRun) -> Self:
        """Open a folder whose sweep is resumed; nothing in it changes before something new is measured.

        Raises RunError if another process is writing it, EnvironmentFailure if it can't be written.
        """
        folder = cls(kept.path, kept.header, mode=kept.settings.mode, kept=kept)
        folder._open(folder._curve)
        return folder

    def _claim(self) -> None:
        """Make the curve's file, which only one process can: of two sweeps into one folder the second is refused."""
        try:
            if not self._curve.open(new=True):
                raise not_empty(self.path)
        except LrfinderError:
            self._close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None = None, *_: object) -> None:
        try:
            if kind is None and self._whole:  # nothing was missing but, perhaps, the end of the curve
                self._begin_curves()
                self._log.keep(self._runs)
        finally:
            self._close()

    def _close(self) -> None:
        claimed = self._curve.is_open
        self._log.__exit__()
        self._curve.close()
        if self._short_curve is not None:
            self._short_curve.close()
        if not self._prepared and self._kept is None and os.getpid() == self._owner:
            with contextlib.suppress(OSError):  # nothing was measured: what is left would only be in the way
                if claimed:
                    (self.place / CURVE).unlink()
                for folder in (self.place, *self.place.parents)[: self._made]:  # the others are the user's own
                    folder.rmdir()

    def repeat_started(self, repeat: int) -> None:
        """Remove the points of a repeat that begins again from the curve."""
        self._measured_curve.repeat_started(repeat)

    def short_sweeps_started(self, settings: SweepSettings) -> None:
        """Write the repeats that follow to a curve of their own."""
        del settings
        self._short_curve = CurveFile(self.place / SHORT_CURVE)
        if self._prepared:
            self._begin_short_curve(self._short_curve)

    def prepared(self, setup: Setup) -> None:
        """Write run.json and the curve's header: from here on the folder can be read, whatever happens.

        If the sweep is resumed, what was not finished is removed now; RunError is raised if `setup` differs from then.
        """
        check_process(self._owner)
        if self._kept is not None:
            check_same(self._kept.setup, setup, self.path)
            setup = dataclasses.replace(setup, judged=setup.judged or self._kept.setup.judged)
            remove_stale(self.place / RUN, older_s=0.0)  # nobody else is writing it
        elif (self.place / RUN).exists():  # the folder was claimed empty: this one is not ours to replace
            raise not_empty(self.path)
        self._header["setup"] = SETUP.dump_python(setup, mode="json")
        self._whole = False
        self._write_run()
        self._begin_curves()
        self._log.keep(self._runs)
        self._prepared = True

    def judged(self, how: str) -> None:
        """Note it in run.json."""
        if self._prepared and self._header["setup"]["judged"] != how:
            self._header["setup"]["judged"] = how
            self._write_run()

    def _begin_curves(self) -> None:
        """Write the headers, or cut off what is not kept; the points of short runs are written again from their log."""
        self._open(self._curve)
        if self._restart:
            runs = self._kept.runs if self._kept is not None else ()
            self._curve.begin(0, [_point(index, run) for index, run in enumerate(runs)])
        else:
            self._curve.begin(_points(self._kept.traces if self._kept is not None else ()))
        if self._short_curve is not None:
            self._begin_short_curve(self._short_curve)

    def _begin_short_curve(self, curve: CurveFile) -> None:
        self._open(curve)
        curve.begin(_points(self._kept.short_sweeps if self._kept is not None else ()))

    @property
    def _measured_curve(self) -> CurveFile:
        """The curve of the repeats that are being made."""
        return self._curve if self._short_curve is None else self._short_curve

    def measured(self, point: Point) -> None:
        """Append one point to the curve, with those since the last write, if that was long enough ago."""
        if not self._prepared:
            raise RuntimeError("RunFolder.measured() before prepared()")
        self._measured_curve.add(point)

    def repeat_ended(self, trace: Trace) -> None:
        """Note in run.json how a repeat ended."""
        self._whole = False
        if self._prepared:
            (self._traces if self._short_curve is None else self._short_sweeps).append(trace)
            self._measured_curve.repeat_ended()  # first: a repeat that run.json calls ended has all of its points
            self._write_run()

    def run_ended(self, run: ShortRun) -> None:
        """Append a short run to runs.jsonl; if the sweep has no continuous part, also as a point of curve.csv."""
        self._whole = False
        if not self._prepared:
            return
        self._log.add(run)
        if self._restart:
            self._curve.add(_point(self._runs, run))
            self._curve.write()  # a run costs far more than a write
        self._runs += 1

    def _open(self, curve: CurveFile) -> None:
        if not curve.open():
            raise RunError(
                f"{self.path}: another process is writing this run", hint="let it end, or end it, before you resume"
            )

    def _write_run(self) -> None:
        document = {**self._header, "repeats": [_ending(trace) for trace in self._traces]}
        if self._short_sweeps:
            document["short_sweeps"] = [_ending(trace) for trace in self._short_sweeps]
        write_atomic(self.place / RUN, (json.dumps(document, indent=1, allow_nan=False) + "\n").encode())


def _point(index: int, run: ShortRun) -> Point:
    """Return a short run as a point of the curve."""
    return Point(repeat=run.plan.repeat, step=index, lr=run.plan.lr, loss=math.nan if run.loss is None else run.loss)


def _points(traces: Iterable[Trace]) -> int:
    """Return how many lines of a curve are theirs."""
    return sum(len(trace.lrs) for trace in traces)


def _ending(trace: Trace) -> dict[str, Any]:
    """Return a repeat without its points, which curve.csv has; JSON knows no NaN: such an initial loss is unknown."""
    row: dict[str, Any] = TRACE.dump_python(trace, mode="json", exclude={"lrs", "losses"})
    first = trace.initial_loss
    return {**row, "initial_loss": first if first is not None and math.isfinite(first) else None}


def check_same(kept: Setup, now: Setup, path: Path) -> None:
    """Raise RunError if a sweep would be resumed with something else than it began with.

    Whether updates are recorded may change: how fast a recording is decides that, and the numbers are the same. How
    held-out data are judged is not known yet.
    """
    kept = dataclasses.replace(kept, graph=now.graph, judged=now.judged)
    before, after = SETUP.dump_python(kept, mode="json"), SETUP.dump_python(now, mode="json")
    for name, value in before.items():
        if after[name] != value:
            raise RunError(
                f"{path}: {name} was {_shown(value)} and is {_shown(after[name])} now: the curves would not compare",
                hint="sweep again, or resume where it was the same",
            )


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
