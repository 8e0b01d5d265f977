"""What the script is about to change, kept so that it can be put back when the process has ended."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import stat
import time
from collections.abc import Callable

from lrfinder.scripts.inside.messages import Messages
from lrfinder.scripts.inside.paths import is_folder, is_regular, size_of

MOST_COPIED = 2**28  # bytes of a file that is copied; what is in a larger one can't be kept, only the file itself
_ASIDE = ".lrfinder-"  # begins the name of a link beside what is too large, through which it stays on the disk


class Kept:
    """Keeps each thing of the user's once, as it was before the script changed it, and tells where.

    What is small is copied to the folder `scratch`. A larger thing that goes as a whole (it is removed, or another one
    takes its place) gets hard links beside it, which take no space; one that is renamed is where it is then. What can't
    be kept is named.
    """

    def __init__(self, messages: Messages, scratch: str) -> None:
        self._messages, self._scratch = messages, scratch
        self._paths: set[str] = set()  # what was kept
        self._numbers = itertools.count(1)
        self.moved: set[str] = set()  # new places of what was renamed

    def new_place(self, path: str) -> str:
        """Return a path in the scratch folder, in a folder of its own there, for what is at `path`."""
        folder = os.path.join(self._scratch, f"{os.getpid()}-{next(self._numbers)}")
        os.makedirs(folder, exist_ok=True)
        return os.path.join(folder, os.path.basename(path))

    def keep(self, path: str, *, whole: bool) -> bool:
        """Keep what is at `path`, which the script is about to change; `whole`: it goes as a whole.

        Tells whether that is by links beside it, to the file itself.
        """
        if path in self._paths:
            return False
        mode = os.lstat(path).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
            return False  # a device or a pipe
        copy = self._copied(path) if is_small(path) else None
        links = self._linked(path) if copy is None and whole else None
        at = time.monotonic()  # who is the first of several processes to get here has kept it as it was
        if copy is None and links is None:
            self.not_kept(path)
        else:
            self._paths.add(path)
            self._messages.send("kept", path=path, copy=copy or links, at=at, moves=copy is None)
        return links is not None

    def keep_renamed(self, path: str, target: str) -> bool:
        """Keep what is at `path`, which the script is about to rename; tell whether that is at its `target` alone."""
        if path in self._paths:
            return False
        self._paths.add(path)
        copy = self._copied(path) if is_small(path) else None
        at = time.monotonic()
        if copy is None:
            self.moved.add(target)
        self._messages.send("kept", path=path, copy=copy or target, at=at, moves=copy is None)
        return copy is None

    def not_kept(self, path: str) -> None:
        """Tell that the script changes what is at `path`, and that this can't be put back."""
        self._messages.send("not_kept", path=path)

    def _copied(self, path: str) -> str | None:
        with contextlib.suppress(OSError):  # the disk is full, or it can't be read
            copy = self.new_place(path)
            _copy(path, copy, shutil.copy2)
            return copy
        return None

    def _linked(self, path: str) -> str | None:
        beside = os.path.join(os.path.dirname(path), f"{_ASIDE}{os.getpid()}-{next(self._numbers)}")
        try:
            _copy(path, beside, os.link)
        except OSError:  # not on this file system
            shutil.rmtree(beside, ignore_errors=True)
            return None
        return beside


def is_small(path: str) -> bool:
    """Tell whether it may be copied."""
    try:
        return size_of(path) <= MOST_COPIED
    except OSError:  # a folder that can't be read
        return False


def _copy(path: str, copy: str, of_file: Callable[[str, str], object]) -> None:
    """Copy a file, a link or a folder; pipes and devices in it are left out."""

    def file(source: str, target: str) -> None:
        if is_regular(source):
            of_file(source, target)

    if is_folder(path):
        shutil.copytree(path, copy, symlinks=True, copy_function=file)
    elif os.path.islink(path):
        shutil.copy2(path, copy, follow_symlinks=False)
    else:
        of_file(path, copy)
