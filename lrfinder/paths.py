"""Paths that the user names: said before a result is written if they can't be one, and where they start."""

from __future__ import annotations

import ast
import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from lrfinder.errors import UsageError


def check_target(path: Path, *, read: Iterable[Path] = (), suffix: str = "") -> None:
    """Raise UsageError unless a file can stand at `path`: a folder, one that isn't there, or a file that was `read`.

    What was read would be lost: it is of another kind than the result. If a `suffix` is given the name must end in it.
    PermissionError passes through.
    """
    problem = ""
    if path.is_dir():
        problem = "is a folder"
    elif not Path(os.path.realpath(path)).parent.is_dir():
        problem = "its folder is not there"
    if problem:
        raise UsageError(f"{path}: {problem}", hint="name a file in a folder that exists")
    if any(path.exists() and other.exists() and path.samefile(other) for other in read):
        raise UsageError(f"{path}: it is read here, and would be lost", hint="name another file for the result")
    if suffix and path.suffix.lower() != suffix:
        raise UsageError(f"{path}: expected a name that ends in {suffix}", hint="name another file")


def check_module(path: Path, text: str) -> None:
    """Raise UsageError if `text`, Python code for `path`, imports a module of that file's name.

    Python would take the file for that module, here and in every other script of its folder.
    """
    try:
        tree = ast.parse(text if path.suffix == ".py" else "")
    except SyntaxError:  # what a plug-in exports may be anything
        return
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported.add(node.module.split(".")[0])
    if path.stem in imported:
        what = f"what it holds imports {path.stem}, and Python would take this file for it"
        raise UsageError(f"{path}: {what}", hint=f"name it {path.with_stem(f'{path.stem}_rates').name}, say")


def cwd() -> Path | None:
    """Return the working folder; None if it was removed."""
    try:
        return Path.cwd()
    except OSError:
        return None


@contextlib.contextmanager
def restore_cwd() -> Iterator[None]:
    """Return to the working folder at the end: a model file may leave it, and the user's own paths start there."""
    before = cwd()
    try:
        yield
    finally:
        if before is not None:
            with contextlib.suppress(OSError):
                os.chdir(before)
