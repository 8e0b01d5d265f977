"""Writes of the script: what was there before the sweep stays as it is, and what is new is reported, to be removed.

Before the first backward() everything is real, since scripts download and cache data then. What a write would change
is kept first, and put back when the process has ended. After it a file that was there before is never opened
for writing: what the script writes there goes to a scratch folder, where the script reads it back. A database of SQLite
is copied and put back at any time.

An audit hook sees every open, rename and removal that Python makes, also those of modules that took `open` before
anything was replaced; replaced functions redirect. Compiled writers that take a path are known one by one (torch.save,
safetensors); others, and programs that the script starts, are not seen.
"""

from __future__ import annotations

import builtins
import functools
import io
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from lrfinder.scripts.inside.compiled_writers import guard_safetensors, guard_torch, sqlite_file
from lrfinder.scripts.inside.kept import Kept, is_small
from lrfinder.scripts.inside.messages import Messages
from lrfinder.scripts.inside.paths import end_of, is_regular, is_within, opened_path, path_of

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC
_WRITE_MODES = frozenset("wax+")
_JOURNALS = ("-journal", "-wal", "-shm")  # what SQLite writes beside a database


class FileGuard:
    """Watches the writes of this process, and of those that it forks.

    `made_before` are the paths that earlier runs of the same sweep have made. In the folder `scratch` everything is
    allowed.
    """

    def __init__(self, messages: Messages, scratch: str, made_before: list[str]) -> None:
        self._messages = messages
        self._scratch = os.path.realpath(scratch)
        self._made_before = set(made_before)
        self._made = set(made_before)  # files and folders that weren't there before the sweep
        self._unread: set[str | None] = {*made_before}  # of those, what this process has not opened to read
        self._kept = Kept(messages, self._scratch)
        self._moved: dict[str, str] = {}  # where what the script writes to a path really is
        self._gone: set[str] = set()  # what the script has removed, as it believes
        self._closed = False  # once training has begun
        self._here = _Busy()
        self._audited: dict[str, Callable[..., None]] = {
            "open": self._opens,
            "os.mkdir": lambda path, _mode, folder: self._makes(path, folder),
            "os.rename": self._renames,
            "os.remove": self._changes,
            "os.rmdir": self._changes,
            "os.truncate": lambda path, _length: self._writes(path, whole=False),
            "os.symlink": lambda _target, place, folder: self._makes(place, folder),
            "os.link": lambda _target, place, _folder, folder: self._makes(place, folder),
            "shutil.rmtree": lambda path, *_: self._changes(path),
            "sqlite3.connect": self._connects,
        }
        sys.addaudithook(self._audit)
        guard_torch(self._target)

    def close(self) -> None:
        """From now on, redirect every write to what was there before."""
        self._closed = True
        real_open, real_os_open, real_truncate = io.open, os.open, os.truncate

        def guarded_open(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            writes = bool(_WRITE_MODES & set(mode))
            return real_open(self._place(file, writes=writes, keep="w" not in mode), mode, *args, **kwargs)

        def guarded_os_open(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            if dir_fd is None:
                path = self._place(path, writes=bool(flags & _WRITES), keep=not flags & os.O_TRUNC)
            return real_os_open(path, flags, mode, dir_fd=dir_fd)

        def guarded_truncate(path: Any, length: int) -> None:
            real_truncate(self._place(path, writes=True, keep=True), length)

        _replace(io, "open", guarded_open)
        builtins.open = io.open
        _replace(os, "open", guarded_os_open)
        _replace(os, "truncate", guarded_truncate)
        for name in ("rename", "replace"):
            _replace(os, name, self._guarded_rename(getattr(os, name)))
        for name in ("chmod", "utime"):
            _replace(os, name, self._guarded_change(getattr(os, name), removes=False))
        for owner, name in ((os, "remove"), (os, "unlink"), (os, "rmdir"), (shutil, "rmtree")):
            _replace(owner, name, self._guarded_change(getattr(owner, name), removes=True))
        _replace(os, "mkdir", self._guarded_making(os.mkdir, place=0))
        _replace(os, "symlink", self._guarded_making(os.symlink, place=1))
        guard_safetensors(self._target)

    # Where a path leads to.

    def _place(self, file: Any, *, writes: bool, keep: bool) -> Any:
        """Return where the script's file really is; `keep`: what is in it stays, and is added to or changed."""
        if not writes and not self._moved:
            return file
        path = path_of(file)
        if path is not None and path not in self._moved:
            path = end_of(path)
        if path is None:
            return file
        made_again = writes and path in self._gone
        if path in self._moved and not made_again:
            return self._moved[path]
        if not writes or not self._was_there(path) or not is_regular(path):
            return file
        keep = keep and not is_within(path, self._gone)
        if keep and not is_small(path):
            self._kept.not_kept(path)
            return file
        place = self._quietly(self._kept.new_place, path)
        if keep:
            self._quietly(shutil.copyfile, path, place)
        self._moved[path] = place
        self._gone.discard(path)
        return place

    def _was_there(self, path: str) -> bool:
        """Tell whether something was there before the sweep, and is the user's."""
        if path.startswith(self._scratch + os.sep) or not os.path.lexists(path):
            return False
        while path not in self._made or path in self._kept.moved:
            folder = os.path.dirname(path)
            if folder == path or path in self._kept.moved:
                return True
            path = folder
        return False

    # What replaces the functions of os and shutil once training has begun.

    def _guarded_rename(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def rename(src: Any, dst: Any, **folders: Any) -> Any:
            source, target = path_of(src), path_of(dst)
            if source is None or target is None or any(value is not None for value in folders.values()):
                return real(src, dst, **folders)
            really = self._moved.get(source, source)
            stays = really == source and self._was_there(source)  # where it was
            target_is_kept = target in self._moved or self._was_there(target)
            if really == source and not stays and not target_is_kept:
                return real(src, dst)
            if stays:
                self._gone.add(source)
            if os.path.isdir(really) or os.path.isdir(target):
                return None if stays or target_is_kept else real(src, dst)
            place = self._moved[target] = self._quietly(self._kept.new_place, target)
            self._gone.discard(target)
            if stays:
                return self._quietly(shutil.copyfile, source, place)
            self._moved.pop(source, None)
            return self._quietly(shutil.move, really, place)

        return rename

    def _guarded_change(self, real: Callable[..., Any], *, removes: bool) -> Callable[..., Any]:
        """Guard a function that removes or changes a path: on what was there before it does nothing."""

        def change(path: Any, *args: Any, **kwargs: Any) -> Any:
            if kwargs.get("dir_fd") is not None:
                return real(path, *args, **kwargs)
            known = path_of(path) if removes else opened_path(path)
            if known is not None and not self._here.busy and (known in self._moved or self._was_there(known)):
                if removes:
                    self._gone.add(known)
                return None
            return real(path, *args, **kwargs)

        return change

    def _guarded_making(self, real: Callable[..., Any], *, place: int) -> Callable[..., Any]:
        """Guard a function that makes a folder or a link: if the script has removed it before, it is there still."""

        def make(*args: Any, **kwargs: Any) -> Any:
            path = path_of(args[place]) if len(args) > place and kwargs.get("dir_fd") is None else None
            if path is not None and os.path.lexists(path) and is_within(path, self._gone):
                return None
            return real(*args, **kwargs)

        return make

    def _target(self, file: Any) -> Any:
        """Return where a compiled writer may write what the script wants in `file`; note what it makes or changes."""
        if hasattr(file, "write"):
            return file
        if self._closed:
            place = self._place(file, writes=True, keep=False)
            if place is not file:
                return place
        self._quietly(self._writes, file, whole=True)
        return file

    # What the audit hook sees.

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        handle = self._audited.get(event)
        if handle is not None and not self._here.busy:
            self._quietly(handle, *args)

    def _opens(self, file: Any, mode: str | None, flags: int) -> None:
        writes = bool(_WRITE_MODES & set(mode)) if mode is not None else bool(flags & _WRITES)
        if writes:
            self._writes(file, whole=bool(flags & os.O_TRUNC))
        elif self._unread:
            named = path_of(file)
            for path in {named, end_of(named)} & self._unread:
                self._messages.send("read", path=path)
                self._unread.discard(path)

    def _renames(self, source: Any, target: Any, *folders: int) -> None:
        old, new = path_of(source), path_of(target)
        if old is None or new is None or any(folder != -1 for folder in folders):
            return
        if self._was_there(new):  # before what takes its place: it is put back after that
            self._kept.keep(new, whole=True)
            if self._was_there(old):
                self._kept.keep_renamed(old, new)
        elif not (self._was_there(old) and self._kept.keep_renamed(old, new)):
            self._note_made(new)

    def _writes(self, file: Any, *, whole: bool) -> None:
        """Keep what a file has in it, or take note that it is made; `whole`: nothing of it stays."""
        path = opened_path(file)
        if path is None:
            return
        if not self._was_there(path):
            self._note_made(path)
        elif self._kept.keep(path, whole=whole):
            os.remove(path)  # another file takes its place: what is written to it isn't written to this one

    def _makes(self, file: Any, folder: int) -> None:
        path = path_of(file)
        if folder == -1 and path is not None and not os.path.lexists(path):
            self._note_made(path)

    def _connects(self, database: Any) -> None:
        """Take note of a database and its journals: SQLite opens and writes them where Python can't see it.

        A journal that wasn't there before must not outlive the run: it would change the database that is put back.
        """
        path = opened_path(sqlite_file(database))
        if path is None:
            return
        was_there = self._was_there(path)
        self._writes(path, whole=False)
        for journal in (path + end for end in _JOURNALS):
            if was_there and not os.path.lexists(journal):
                self._messages.send("made", path=journal, late=True, at=time.monotonic())
            else:
                self._writes(journal, whole=False)

    def _note_made(self, path: str) -> None:
        if path.startswith((self._scratch + os.sep, "/dev/")):
            return
        known = path in self._made
        self._made.add(path)
        self._unread.add(path)
        if not known or path in self._made_before:
            self._messages.send("made", path=path, late=self._closed, at=time.monotonic())

    def _changes(self, file: Any, folder: int = -1) -> None:
        path = path_of(file)
        if folder == -1 and path is not None and self._was_there(path):
            self._kept.keep(path, whole=True)

    def _quietly(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call something of our own, which the audit hook needn't see."""
        before, self._here.busy = self._here.busy, True
        try:
            return call(*args, **kwargs)
        finally:
            self._here.busy = before


class _Busy(threading.local):
    busy = False  # whether this thread does something of our own


class _Function:
    """A function that a class may have as an attribute without making a method of it, as builtin ones."""

    def __init__(self, call: Callable[..., Any], real: Callable[..., Any]) -> None:
        functools.update_wrapper(self, real)
        self._call = call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(*args, **kwargs)


def _replace(owner: Any, name: str, call: Callable[..., Any]) -> None:
    setattr(owner, name, _Function(call, getattr(owner, name)))
