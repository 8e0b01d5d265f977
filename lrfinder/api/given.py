"""What callers of the Python interface give: one item for a list of one; the wrong kind of object, with the way on."""

from __future__ import annotations

import os
from collections.abc import Iterable
from numbers import Real
from pathlib import Path
from typing import Any

from lrfinder.errors import UsageError
from lrfinder.records import SweepResult
from lrfinder.records.given import whole


def model_reference(model: Any) -> str:
    """Return the name of a model file. Raises UsageError for live objects, which only `sweep` takes."""
    if isinstance(model, str | os.PathLike):
        return os.fspath(model)
    raise UsageError(
        f"model: the name of a model file is needed here, got {_kind(model)}",
        hint="name a file; live objects: result = lrfinder.sweep(model, ...), then lrfinder.recommend(result, ...)",
    )


def run_folder(run: Any) -> Path:
    """Return the path of a run folder. Raises UsageError for what isn't a path, as the result of a sweep."""
    if isinstance(run, str | os.PathLike):
        return Path(run)
    hint = "name the folder"
    if isinstance(run, SweepResult):
        hint = "sweep with out=FOLDER, and name that" if run.run is None else f"name its folder, result.run: {run.run}"
    raise UsageError(f"the path of a run folder is needed here, got {_kind(run)}", hint=hint)


def run_folders(runs: Any) -> list[Path]:
    """Return the paths of run folders; a single one is a list of one."""
    several = isinstance(runs, Iterable) and not isinstance(runs, str | os.PathLike | SweepResult)
    return [run_folder(run) for run in (runs if several else [runs])]


def items(given: Any) -> tuple[Any, ...]:
    """Return what was given as a tuple; a text or a number alone is one item, None is nothing."""
    return () if given is None else (given,) if isinstance(given, str | Real) else tuple(given)


def seed_of(given: Any) -> int:
    """Return a seed as Python's own number. Raises UsageError for one that isn't whole, or below 0."""
    seed = whole("seed", given)
    if seed < 0:
        raise UsageError(f"seed must be at least 0, got {seed}")
    return seed


def _kind(given: Any) -> str:
    return f"an object of class {type(given).__name__}"
