"""What runs of the script have left on the disk, put in order: what was there is put back, what is new is removed."""

from __future__ import annotations

import contextlib
import math
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

KINDS = frozenset({"made", "read", "kept", "not_kept"})  # of the messages of a file guard
NOTHING: Mapping[str, float] = MappingProxyType({})
_NUMBERS = re.compile(r"[0-9a-f]{6,}|[0-9]+")  # of a run, of a time, or random ones


class _Made(NamedTuple):
    run: int
    at: float
    path: str


class _Copy(NamedTuple):
    at: float  # when it was taken
    path: str  # of what was there
    copy: str
    moves: bool  # it is the thing itself, by another name: it is moved back


class Footprints:
    """Takes the messages of the file guards of all runs.

    What a run made once it trains goes when it ends. What it made before that, such as data that it downloads or
    a folder for its logs, stays until the sweep ends, since a later run may read it. Then it is litter if later runs
    make such things again: everything that a later run made, and of the first run's what later ones made again, in it,
    or by the same name with another number. What a later run has read stays. If there was one run alone, what it made
    in one place stays if it has read some of it itself, as data that it downloaded. What was there before, and was
    removed and made again, is no one's to remove.

    These are those of one machine. Others may share folders with it, which nobody can tell: what they have kept comes
    as `elsewhere`, the times of this machine's clock by paths.
    """

    def __init__(self) -> None:
        self._runs = 0
        self._early: list[_Made] = []  # before the run trained
        self._read: set[str] = set()  # made by an earlier run, and read by a later one
        self._own: set[str] = set()  # made by the run under way before it trained
        self._read_back: set[str] = set()  # made and read by the same run
        self._late: list[_Made] = []  # of the run under way
        self._copies: list[_Copy] = []  # of the run under way: of what it changed
        self.not_kept: dict[str, None] = {}  # what was changed and could not be kept, each once
        self.not_put_back: dict[str, None] = {}

    def run_started(self) -> None:
        """Begin with another run."""
        self._runs += 1
        self._own = set()

    @property
    def made_before(self) -> list[str]:
        """The paths that the runs so far have made and left."""
        return [made.path for made in self._early if os.path.lexists(made.path)]

    @property
    def kept(self) -> dict[str, float]:
        """When the run under way has first changed what was there before, by paths."""
        times: dict[str, float] = {}
        for kept in self._copies:
            times[kept.path] = min(kept.at, times.get(kept.path, kept.at))
        return times

    def take(self, message: Mapping[str, Any]) -> None:
        """Take one message of the run's file guard."""
        path, kind = message["path"], message["kind"]
        if kind == "kept":
            self._copies.append(_Copy(message["at"], path, message["copy"], message["moves"]))
        elif kind == "not_kept":
            self.not_kept[path] = None
        elif kind == "read":
            (self._read_back if path in self._own else self._read).add(path)
        elif message["late"]:
            self._late.append(_Made(self._runs, message["at"], path))
        else:
            self._early.append(_Made(self._runs, message["at"], path))
            self._own.add(path)

    def put_back_later(self, elsewhere: Mapping[str, float]) -> None:
        """Put back what another machine has kept earlier: if it is the same file, that one's copy is put back last."""
        self._put_back([kept for kept in self._copies if elsewhere.get(kept.path, math.inf) < kept.at])

    def run_ended(self, elsewhere: Mapping[str, float] | None = NOTHING) -> None:
        """Remove what the run made after its first step, and put back what it changed before.

        What another machine has kept, and this one has made after that, is left to that one. If nobody knows what
        others have kept (`elsewhere` is None), nothing that the run has made is removed.
        """
        self._leave_to_others(elsewhere)
        _remove_all(made.path for made in self._late)
        self._put_back(self._copies)
        self._late = []

    def _leave_to_others(self, elsewhere: Mapping[str, float] | None) -> None:
        def is_theirs(made: _Made) -> bool:
            if elsewhere is None:
                return made.run == self._runs
            around = (made.path, *map(str, Path(made.path).parents)) if elsewhere else ()
            return any(elsewhere.get(path, math.inf) < made.at for path in around)

        self._early = [made for made in self._early if not is_theirs(made)]
        self._late = [made for made in self._late if not is_theirs(made)]

    def _put_back(self, copies: Sequence[_Copy]) -> None:
        """Put back what was copied; what a run has made in its place is no one's to remove."""
        made_after = self._made_after()
        there: set[str] = set()
        for kept in sorted(copies, reverse=True):  # of several processes the first one's is the oldest
            inside = {path: Path(kept.copy, os.path.relpath(path, kept.path)) for path in made_after[kept]}
            there.update(path for path, copy in inside.items() if os.path.lexists(copy))
            if kept.moves:
                _remove_all(made.path for made in self._early if _is_in(made.path, kept.copy))
            try:
                _put_back(Path(kept.path), Path(kept.copy), moves=kept.moves)
            except OSError:
                self.not_put_back[kept.path] = None
        self._early = [made for made in self._early if made.path not in there]
        self._copies = [kept for kept in self._copies if kept not in copies]

    def _made_after(self) -> dict[_Copy, list[str]]:
        """Return for each copy the paths in what it is of that were made only after it was taken."""
        copies: dict[str, list[_Copy]] = {}
        for kept in self._copies:
            copies.setdefault(kept.path, []).append(kept)
        times: dict[str, float] = {}
        for made in self._early:
            times[made.path] = min(made.at, times.get(made.path, made.at))
        found: dict[_Copy, list[str]] = {kept: [] for kept in self._copies}
        for path, at in times.items():
            for folder in (path, *map(str, Path(path).parents)):
                for kept in copies.get(folder, ()):
                    if kept.at < at:
                        found[kept].append(path)
        return found

    def remove_unread(self) -> bool:
        """Remove what the runs so far have made and none has read; tell whether there was anything."""
        unread = [path for path in self.made_before if not _holds(path, self._read)]
        _remove_all(unread)
        self._early = [made for made in self._early if os.path.lexists(made.path)]
        return bool(unread)

    def sweep_ended(self) -> list[str]:
        """Remove the litter, and return what is left of what the runs made."""
        later = {made.path for made in self._early if made.run > 1}
        own = {made.path for made in self._early}
        if self._runs > 1:
            litter = [made.path for made in self._early if made.run > 1 or self._is_litter(made.path, later)]
            _remove_all(path for path in litter if not _holds(path, self._read))
        else:
            tops = [path for path in own if own.isdisjoint(map(str, Path(path).parents))]
            _remove_all(top for top in tops if not _holds(top, self._read_back))
        innermost = sorted(own, key=len, reverse=True)
        for path in innermost:
            with contextlib.suppress(OSError):  # it holds something
                os.rmdir(path)
        return [path for path in reversed(innermost) if os.path.lexists(path)]

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
            _remove(path)


def _remove(path: str | Path) -> None:
    if _is_folder(path):
        shutil.rmtree(path)
    else:
        os.remove(path)


def _is_folder(path: str | Path) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def _put_back(path: Path, copy: Path, *, moves: bool) -> None:
    """Put what was there back, with its times and mode, in place of what is there now; in a folder all else stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if _is_folder(copy) and os.path.lexists(path):
        if not _is_folder(path):
            path.unlink()
            path.mkdir()
        for inner in copy.iterdir():
            _put_back(path / inner.name, inner, moves=moves)
        shutil.copystat(copy, path)
        if moves:
            copy.rmdir()
        return
    if os.path.lexists(path) and (moves or path.is_symlink() or _is_folder(path) or not os.access(path, os.W_OK)):
        _remove(path)
    if moves:
        copy.rename(path)
    elif _is_folder(copy):
        shutil.copytree(copy, path, symlinks=True)
    else:
        shutil.copy2(copy, path, follow_symlinks=False)
