"""Where a new run is kept: an empty folder that the user names, or one that is made for it."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

from lrfinder.errors import RunError, fault_of_name
from lrfinder.files import disk_errors
from lrfinder.store.curve_file import is_left_over
from lrfinder.store.layout import RUNS_FOLDER

_LONGEST_NAME = 200  # bytes of a model's name in that of its folder; most file systems take 255 for all of it


def take_folder(path: Path) -> tuple[Path, int]:
    """Return the folder `path`, and how many folders were made for it now: itself, and those that it lies in.

    It may hold the empty curve of a sweep that was killed; whether that one still runs, its lock tells (`CurveFile`).
    Raises RunError if it holds something or is no folder, EnvironmentFailure if it can't be made.
    """
    if fault := fault_of_name(str(path)):
        raise RunError(f"{str(path)!a}: {fault}", hint="name another folder with --out")
    made = _make(path)
    with disk_errors(path):
        if not made and not all(is_left_over(entry) for entry in path.iterdir()):
            raise not_empty(path)
    return path, made


def not_empty(path: Path) -> RunError:
    """Return the error for a folder that holds something."""
    return RunError(f"{path}: the folder is not empty", hint="name a new one with --out")


def make_folder(model: str) -> tuple[Path, int]:
    """Make `lrfinder-runs/<model>-<time>`, with a number if there is one of that name. Result and errors: as above."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    model = model.encode()[:_LONGEST_NAME].decode(errors="ignore")
    runs = Path(RUNS_FOLDER)
    made = _make(runs)  # by itself: what is in its way is no run of the same second
    names = itertools.chain([stamp], (f"{stamp}-{number}" for number in itertools.count(2)))
    return next((path, made + 1) for path in (runs / f"{model}-{name}" for name in names) if _make(path))


def _make(path: Path) -> int:
    """Make the folder, and return how many were made; 0 if it is there. `mkdir` is atomic: no lock is needed."""
    with disk_errors(path):
        missing = sum(not folder.exists() for folder in (path, *path.parents))
        try:
            path.mkdir(parents=True)
        except (FileExistsError, NotADirectoryError):
            if path.is_dir():
                return 0
            raise RunError(f"{path}: there is a file in the way", hint="name another folder with --out") from None
    return max(1, missing)
