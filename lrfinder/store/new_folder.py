"""Where a new run is kept: an empty folder that the user names, or one that is made for it."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

from lrfinder.errors import RunError, fault_of_name
from lrfinder.files import disk_errors
from lrfinder.store.layout import RUNS_FOLDER

_LONGEST_NAME = 200  # bytes of a model's name in that of its folder; most file systems take 255 for all of it


def take_folder(path: Path) -> tuple[Path, bool]:
    """Return the folder `path`, and whether it was made now.

    Raises RunError if it holds something or is no folder, EnvironmentFailure if it can't be made.
    """
    if fault := fault_of_name(str(path)):
        raise RunError(f"{str(path)!a}: {fault}", hint="name another folder with --out")
    made = _is_made(path)
    with disk_errors(path):
        if not made and any(path.iterdir()):
            raise not_empty(path)
    return path, made


def not_empty(path: Path) -> RunError:
    """Return the error for a folder that holds something."""
    return RunError(f"{path}: the folder is not empty", hint="name a new one with --out")


def make_folder(model: str) -> Path:
    """Make `lrfinder-runs/<model>-<time>`, with a number if there is one of that name. Errors are as above."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    model = model.encode()[:_LONGEST_NAME].decode(errors="ignore")
    runs = Path(RUNS_FOLDER)
    _is_made(runs)  # by itself: what is in its way is no run of the same second
    names = itertools.chain([stamp], (f"{stamp}-{number}" for number in itertools.count(2)))
    return next(path for path in (runs / f"{model}-{name}" for name in names) if _is_made(path))


def _is_made(path: Path) -> bool:
    """Make the folder; False if there is one already. `mkdir` is atomic: no lock is needed."""
    with disk_errors(path):
        try:
            path.mkdir(parents=True)
        except (FileExistsError, NotADirectoryError):
            if path.is_dir():
                return False
            raise RunError(f"{path}: there is a file in the way", hint="name another folder with --out") from None
    return True
