"""What runs of the script have left on the disk, put in order: what was there is put back, what is new is removed."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_NUMBERS = re.compile(r"[0-9a-f]{6,}|[0-9]+")  # of a run, of a time, or random ones


class Footprints:
    """Takes the messages of the file guards of all runs.

    What a run made once it trains goes when it ends. What it made before that, such as data that it downloads or
    a folder for its logs, stays until the sweep ends, since a later run may read it. Then it is litter if later runs
    make such things again: everything that a later run made, and of the first run's what later ones made again, in it,
    or by the same name with another number. What a later run has read stays. If there was one run alone, what it made
    in one place stays if it has read some of it itself, as data that it downloaded.
    """

    def __init__(self) -> None:
        self._runs = 0
        self._early: list[tuple[int, str]] = []  # the run, and the path that it made before it trained
        self._read: set[str] = set()  # made by an earlier run, and read by a later one
        self._own: set[str] = set()  # made by the run under way before it trained
        self._read_back: set[str] = set()  # made and read by the same run
        self._late: list[str] = []  # of the run under way
        self._copies: list[tuple[float, str, str]] = []  # of the run under way: when it changed what, and how it was
        self.too_large: list[str] = []  # what was changed and could not be copied
        self.not_put_back: list[str] = []

    def run_started(self) -> None:
        """Begin with another run."""
        self._runs += 1
        self._own = set()

    @property
    def made_before(self) -> list[str]:
        """The paths that the runs so far have made and left."""
        return [path for _, path in self._early if os.path.lexists(path)]

    def take(self, message: Mapping[str, Any]) -> None:
        """Take one message of the run's file guard."""
        path, kind = message["path"], message["kind"]
        if kind == "kept":
            self._copies.append((message["at"], path, message["copy"]))
        elif kind == "too_large":
            self.too_large.append(path)
        elif kind == "read":
            (self._read_back if path in self._own else self._read).add(path)
        elif message["late"]:
            self._late.append(path)
        else:
            self._early.append((self._runs, path))
            self._own.add(path)

    def run_ended(self) -> None:
        """Remove what the run made after its first step, and put back what it changed before."""
        _remove_all(self._late)
        for _, path, copy in sorted(self._copies, reverse=True):  # of several processes the first one's is the oldest
            try:
                _put_back(Path(path), Path(copy))
            except OSError:
                self.not_put_back.append(path)
        self._late, self._copies = [], []

    def remove_unread(self) -> bool:
        """Remove what the runs so far have made and none has read; tell whether there was anything."""
        unread = [path for path in self.made_before if not _holds(path, self._read)]
        _remove_all(unread)
        self._early = [(run, path) for run, path in self._early if os.path.lexists(path)]
        return bool(unread)

    def sweep_ended(self) -> list[str]:
        """Remove the litter, and return what is left of what the runs made."""
        later = {path for run, path in self._early if run > 1}
        if self._runs > 1:
            litter = [path for run, path in self._early if run > 1 or self._is_litter(path, later)]
            _remove_all(path for path in litter if not _holds(path, self._read))
        else:
            own = {path for _, path in self._early}
            tops = [path for path in own if own.isdisjoint(map(str, Path(path).parents))]
            _remove_all(top for top in tops if not _holds(top, self._read_back))
        made = sorted({path for _, path in self._early}, key=len, reverse=True)
        for path in made:
            with contextlib.suppress(OSError):  # it holds something
                os.rmdir(path)
        return [path for path in reversed(made) if os.path.lexists(path)]

    def _is_litter(self, path: str, later: set[str]) -> bool:
        """Tell whether later runs made the same again, something in it, or its like with another number."""
        kind = _NUMBERS.sub("", path)
        return any(_is_in(other, path) or _NUMBERS.sub("", other) == kind for other in later)


def _is_in(path: str, folder: str) -> bool:
    return path.startswith(folder + os.sep)


def _holds(path: str, read: Iterable[str]) -> bool:
    return any(one == path or _is_in(one, path) for one in read)


def _remove_all(paths: Iterable[str]) -> None:
    """Remove files and folders, the innermost first; one that can't be is left."""
    for path in sorted(set(paths), key=len, reverse=True):
        with contextlib.suppress(OSError):
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            else:
                os.remove(path)


def _put_back(path: Path, copy: Path) -> None:
    """Put the copy of what was there back: its content, and its times and mode."""
    if copy.is_dir() and not copy.is_symlink():
        shutil.copytree(copy, path, symlinks=True, dirs_exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink() or copy.is_symlink():
        path.unlink(missing_ok=True)
    shutil.copy2(copy, path, follow_symlinks=False)
