"""DeepSpeed's config, which `deepspeed` holds or names: a scheduler in it takes the place of transformers' own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from lrfinder.config import json_format
from lrfinder.config.document import Document, Problem, UnreadableError
from lrfinder.config.files import MAX_BYTES
from lrfinder.config.problems import show_value
from lrfinder.files import UnfitFileError, read_limited

_KEY, _SCHEDULER = "deepspeed", "scheduler"


def deepspeed_scheduler(document: Document, *, folder: Path, instead_of: str) -> tuple[list[Problem], str]:
    """Return the problem of a scheduler in DeepSpeed's config, and what to say if that config couldn't be read.

    A file is looked for in `folder`, that of the arguments, and then in the working folder. `instead_of` is the key
    whose place the scheduler takes.
    """
    given = document.data.get(_KEY)
    why = f"takes the place of {instead_of}, and isn't read; take it out, or write the config by hand"
    if isinstance(given, Mapping):
        place = document.place((_KEY, _SCHEDULER), of_key=True)
        return [Problem(place, f"{_KEY}.{_SCHEDULER}: {why}")] if given.get(_SCHEDULER) else [], ""
    if not isinstance(given, str | Path) or not given:
        return [], ""
    file = next((file for file in (folder / given, Path(given)) if _is_file(file)), None)
    try:
        config = None if file is None else json_format.read(read_limited(file, MAX_BYTES).decode("utf-8-sig"))
    except (OSError, UnfitFileError, UnicodeDecodeError, UnreadableError):
        config = None
    if config is None:
        unread = f"DeepSpeed's config, {show_value(str(given))}, couldn't be read"
        return [], f"; {unread}: a scheduler in it would take the place of this one"
    if not isinstance(config.data, dict) or not config.data.get(_SCHEDULER):
        return [], ""
    line, column = config.place((_SCHEDULER,), of_key=True)
    return [Problem(document.place((_KEY,)), f"{_KEY}: {file}:{line}:{column}: {_SCHEDULER}: {why}")], ""


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113 - a path's own raises for a name that is too long
