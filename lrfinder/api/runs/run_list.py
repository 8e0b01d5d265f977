"""The run folders of a project, in a line each."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from lrfinder.errors import LrfinderError, RunError
from lrfinder.files import disk_errors, is_locked
from lrfinder.options import STOP_TEXT
from lrfinder.records import Pick
from lrfinder.store import RECOMMENDATION, TRIALS, VERIFICATION, all_runs, is_written, load_run, read_answer


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLine:
    """A run folder: what was swept, whether it is done or what cut it short, and the pick that it keeps.

    `pick` is that of `verify`, else of `recommend`; None if neither was asked. `problem` says why the folder can't be
    read; then all else is empty.
    """

    path: Path
    model: str = ""
    optimizer: str = ""
    updates: int = 0
    ended: str = ""
    pick: Pick | None = None
    problem: str = ""


def list_runs(folder: Path) -> list[RunLine]:
    """Return the run folders in `folder`, newest first. Nothing is fitted, and nothing is written."""
    return [_line(path) for path in all_runs(folder)]


def size_of(path: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(file.lstat().st_size for file in path.rglob("*") if file.is_file() or file.is_symlink())


def remove_run(path: Path) -> None:
    """Remove a run folder with all that is in it.

    Raises RunError for what is no valid run folder, is a link, is being written, or holds the working folder, and if
    another process makes trials of it; EnvironmentFailure if the disk refuses.
    """
    if path.is_symlink():
        raise RunError(f"{path}: a link, which was left as it is", hint="remove it yourself")
    load_run(path)
    if Path.cwd().resolve().is_relative_to(path.resolve()):
        raise RunError(f"{path}: the working folder is in it", hint="go to another folder first")
    with disk_errors(path):
        if is_written(path):
            raise RunError(f"{path}: another process is writing it", hint="wait for its end")
        if is_locked(path / TRIALS):  # by `verify`, for as long as it trains
            raise RunError(f"{path}: another process is making trials of it", hint="wait for its end")
        shutil.rmtree(path)


def _line(path: Path) -> RunLine:
    try:
        result = load_run(path)
        verified, recommended = read_answer(path / VERIFICATION), read_answer(path / RECOMMENDATION)
    except (LrfinderError, OSError) as error:
        return RunLine(path=path, problem=str(error))
    answer = verified if verified is not None and verified.confirmed is not None else recommended
    return RunLine(
        path=path,
        model=result.setup.model,
        optimizer=result.setup.optimizer.name,
        updates=result.updates if answer is None else answer.updates,
        ended=STOP_TEXT[result.status] if result.status.cut_short else "done",
        pick=None if answer is None else answer.picks[0],
    )
