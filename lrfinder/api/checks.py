"""Whether a sweep can carry on: with the same model, and nothing asked that the run folder says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lrfinder.errors import RunError, UsageError
from lrfinder.store import ResumableRun, Source
from lrfinder.task.reference import check_reference, digest_of

LIVE = "lrfinder.sweep(...)"  # the reference of a sweep of objects that Python code gave; no file is called that
_OPTIONS = {"model": "MODEL", "swept_optimizer": "--sweep-optimizer"}  # the others are called as the keyword is


def check_model(kept: ResumableRun) -> None:
    """Check, before anything is imported, that the model file is there and is the one that was swept.

    Raises UsageError where it is missing or never was a file, RunError where its content has changed.
    """
    if kept.source.reference == LIVE:
        raise UsageError(
            f"{kept.path}: the sweep was made from live objects of a Python program, which are gone",
            hint="run that program again, or put the objects in a model file: lrfinder.sweep('model.py', out=...)",
        )
    check_not_inside(kept.source, kept.path)
    if digest_of(check_reference(kept.source.reference)) != kept.model_sha256:
        raise RunError(
            f"{kept.path}: {kept.source.reference} has changed since the sweep began: the curves would not compare",
            hint="sweep again, or bring back the file as it was",
        )


def check_not_inside(source: Source, folder: Path) -> None:
    """Raise RunError where a run folder names a model file within itself: a stranger's folder must not run code."""
    path = check_reference(source.reference).path
    if path is not None and path.resolve().is_relative_to(folder.resolve()):
        raise RunError(
            f"{folder}: its run.json names a model file inside the folder, {source.reference}",
            hint="move the model file out of the run folder",
        )


def check_options(given: Mapping[str, Any], kept: ResumableRun) -> None:
    """Raise UsageError where an option asks for something else than the run folder was begun with."""
    stored = {
        **asdict(kept.settings),
        **asdict(kept.source.training),
        "momentum": None,
        "weight_decay": None,
        **kept.source.optimizer_options,
        "model": kept.source.reference,
        "optimizer": kept.source.optimizer,
        "batch_size": kept.source.batch_size,
        "device": kept.source.device,
        "loader_timeout": kept.source.loader_timeout,
        "out": kept.path,
    }
    for name, value in given.items():
        if name in stored and stored[name] != value:
            option = _OPTIONS.get(name, f"--{name.replace('_', '-')}")
            raise UsageError(
                f"{option} {value} can't be given with --resume: {kept.path} was begun with {stored[name]}",
                hint="leave the option out, or sweep again with --out",
            )
