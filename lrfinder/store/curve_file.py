"""A curve in a file, `repeat,step,lr,loss`, written as it is measured."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

from lrfinder.errors import LrfinderError
from lrfinder.files import AppendFile, disk_errors, is_locked, is_open_here
from lrfinder.records import Point
from lrfinder.store.layout import COLUMNS, CURVE

_SYNC_SECONDS = 1.0  # a power cut loses at most this much; syncing every line would cost more than most updates
# A kill loses at most the points of this time. Writing each by itself takes 15 to 40 us, as much as all else that an
# update costs; at ten writes a second that is nothing, and updates that take as long are still written at once.
_WRITE_SECONDS = 0.1


class CurveFile:
    """A curve being written. `open` and `begin` it before points are added, and `close` it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: AppendFile | None = None
        self._unwritten: list[str] = []  # rows
        self._written = self._synced = 0.0
        self._repeat: int | None = None
        self._began = 0  # where the points of that repeat begin in the file

    def open(self, *, new: bool = False) -> bool:
        """Open the file, created if there is none; False if another process is writing it.

        A `new` one must not be there, unless it is what a sweep left that was killed before it measured anything.
        """
        if self._lines is None:
            with disk_errors(self._path):
                try:
                    self._lines = AppendFile(self._path, new=new)
                    ours = self._lines.lock()
                except FileExistsError:
                    if is_open_here(self._path):
                        return False
                    self._lines = AppendFile(self._path)
                    ours = self._lines.lock() and self._lines.is_locked_and_there and not self._lines.size
                if not ours:
                    self.close()
                    return False
        return True

    @property
    def is_open(self) -> bool:
        """Whether this process may write the file."""
        return self._lines is not None

    def begin(self, points: int, more: Sequence[Point] = ()) -> None:
        """Write the header, or keep it and so many of the points that are there; then write `more`."""
        if self._lines is None:
            raise RuntimeError("CurveFile.begin() before open()")
        with disk_errors(self._path):
            self._lines.keep(points + 1 if points else 0)
            if not points:
                self._lines.add([",".join(COLUMNS)])
            self._lines.add([_row(point) for point in more])
            self._began = self._lines.size

    def repeat_started(self, repeat: int) -> None:
        """Remove the points of a repeat that begins again."""
        if self._lines is not None:
            if repeat == self._repeat:
                self._unwritten.clear()
                with disk_errors(self._path):
                    self._lines.cut(self._began)
            self._began = self._lines.size
        self._repeat = repeat

    def add(self, point: Point) -> None:
        """Append one point, with those since the last write, if that was long enough ago."""
        self._unwritten.append(_row(point))
        if time.monotonic() - self._written >= _WRITE_SECONDS:
            self.write()

    def write(self) -> None:
        """Append what is not written yet; if the disk refuses, it is kept for the next time."""
        if self._lines is None or not self._unwritten:
            return
        with disk_errors(self._path):
            self._lines.add(self._unwritten)
            self._written = time.monotonic()
            if self._written - self._synced > _SYNC_SECONDS:
                self._lines.sync()
                self._synced = self._written

    def repeat_ended(self) -> None:
        """Sync all points to the disk."""
        if self._lines is not None:
            self.write()
            with disk_errors(self._path):
                self._lines.sync()

    def close(self) -> None:
        """Write what is left, if the disk takes it, and close the file; may be called again."""
        if self._lines is not None:
            with contextlib.suppress(LrfinderError):  # a repeat that ended has all of its points already
                self.write()
            self._lines.close()
            self._lines = None


def _row(point: Point) -> str:
    return f"{point.repeat},{point.step},{point.lr!r},{point.loss!r}"


def is_left_over(path: Path) -> bool:
    """Tell whether a file may be what a sweep left that was killed before it measured anything: an empty curve."""
    return path.name == CURVE and not path.is_symlink() and path.is_file() and not path.stat().st_size


def is_written(folder: Path) -> bool:
    """Tell whether another process is writing the curve of a run folder, or has it open for that."""
    with disk_errors(folder / CURVE):
        return is_locked(folder / CURVE)
