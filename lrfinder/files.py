"""Files that are either as they were or completely new, files that grow by whole lines, and disk faults with a name."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
import time
from pathlib import Path
from types import TracebackType
from weakref import WeakSet

from lrfinder.errors import EnvironmentFailure, ModelFileError, RunError, UsageError
from lrfinder.paths import check_target

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# A process killed between two system calls leaves a temporary file; a write that still goes on is younger than this.
_STALE_SECONDS = 60.0
_FULL = frozenset({errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)})
_CHUNK = 2**20  # bytes: large enough that reading costs no more than one call for almost every run
_MODE = 0o666  # less the umask: so the user decides who may read a result
# A folder from a stranger may hold links to the user's own files: they are never written through.
_NO_LINK: int = getattr(os, "O_NOFOLLOW", 0)
_BINARY: int = getattr(os, "O_BINARY", 0)  # Windows would write \r\n


def disk_hint(error: OSError) -> str:
    """Return what to do if the disk refuses."""
    if error.errno in _FULL:
        return "free some space there, or name another place"
    return "name another place, or check the path and its permissions"


class disk_errors:  # noqa: N801 - used as a function is: `with disk(path):`
    """Turn the operating system's refusal into an EnvironmentFailure that names the file and the reason.

    A class, because a generator takes four times as long, and every point of a curve enters it.
    """

    __slots__ = ("_path",)

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError):
            raise EnvironmentFailure(f"{self._path}: {error.strerror or error}", hint=disk_hint(error)) from error


def write_named(path: Path, data: bytes) -> None:
    """Write to a path that the user named: like `write_atomic`, but through links, and into a pipe or a device.

    What is replaced keeps its mode. The system judges whether this process may write there: it denies a link of
    somebody else's in a shared folder. Raises EnvironmentFailure if it refuses, UsageError as `check_target`.
    """
    mode = None
    with disk_errors(path), contextlib.suppress(FileNotFoundError):  # a new file; what a link leads to is made here
        check_target(path)
        handle = os.open(path, os.O_WRONLY | _BINARY | (os.O_CREAT if path.is_symlink() else 0), _MODE)
        try:
            mode = os.fstat(handle).st_mode
            if not stat.S_ISREG(mode):
                _write_all(handle, data)
                return
        finally:
            os.close(handle)
    write_atomic(Path(os.path.realpath(path)), data, mode=mode)


def write_atomic(path: Path, data: bytes, *, mode: int | None = None) -> None:
    """Replace `path` by `data`, or leave it as it was: a temporary file beside it, synced, then renamed.

    It gets the permissions of `mode`, or those that the umask leaves.

    Raises EnvironmentFailure if the disk refuses; no temporary file is left then. One that a killed process left is
    removed by the next write.
    """
    temporary = path.with_name(f"{_temporary_prefix(path)}{secrets.token_hex(4)}")
    with disk_errors(path):
        remove_stale(path)
        try:
            _write_synced(temporary, data, mode)
            os.replace(temporary, path)  # noqa: PTH105 - beside the other system calls that it belongs to
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def remove_stale(path: Path, *, older_s: float = _STALE_SECONDS) -> None:
    """Remove the temporary files that writers of `path` left when they were killed, `older_s` seconds ago or more."""
    ours = re.compile(rf"{re.escape(_temporary_prefix(path))}[0-9a-f]{{8}}")
    with contextlib.suppress(PermissionError):  # a folder that can be written and not listed
        for other in [file for file in path.parent.iterdir() if ours.fullmatch(file.name)]:
            with contextlib.suppress(FileNotFoundError):  # its writer just renamed it
                if time.time() - other.lstat().st_mtime >= older_s:
                    other.unlink()


def _temporary_prefix(path: Path) -> str:
    return f".{os.fsencode(path.name)[:100].decode(errors='ignore')}."  # no longer: that of `path` may be the longest


def _write_synced(path: Path, data: bytes, mode: int | None) -> None:
    """Write a new file, and sync it to the disk; one that can't be written whole is removed."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, _MODE)
    whole = False
    try:
        if mode is not None:
            path.chmod(stat.S_IMODE(mode))
        _write_all(handle, data)
        os.fsync(handle)
        whole = True
    finally:
        os.close(handle)
        if not whole:  # here alone: a file that was there before a signal came is somebody else's
            path.unlink(missing_ok=True)


def _write_all(handle: int, data: bytes) -> None:
    """Write all of `data`: a nearly full disk takes a part, and refuses only the next write."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut, if the system lets a folder be opened (Windows doesn't)."""
    with contextlib.suppress(PermissionError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class UnfitFileError(Exception):
    """A file that can't be what it is read for; the message is what it is: "not a regular file"."""


def read_limited(path: Path, limit: int) -> bytes:
    """Return what a file holds. Raises OSError; UnfitFileError if it is too long or no regular file."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # reading a pipe may wait forever
        raise UnfitFileError("not a regular file")
    if status.st_size > limit:
        raise UnfitFileError(f"larger than {limit // 2**20} MiB")
    return path.read_bytes()


def read_measured(path: Path, *, limit: int, kind: str) -> bytes:
    """Return what a file that lrfinder wrote holds; RunError names the file. `kind` is e.g. "file of lrfinder's"."""
    try:
        return read_limited(path, limit)
    except UnfitFileError as error:
        raise RunError(f"{path}: {error}", hint=f"this is no {kind}") from None
    except OSError as error:
        raise RunError(f"{path}: {error.strerror or error}", hint="check the path and its permissions") from None


def read_measured_text(path: Path, *, limit: int, kind: str, again: str) -> str:
    """Return the text of such a file, with lines that end in newlines alone; `again` is the hint if it is no UTF-8."""
    try:
        return read_measured(path, limit=limit, kind=kind).decode().replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise RunError(f"{path}: not UTF-8 text (byte {error.start})", hint=again) from None


def check_process(owner: int) -> None:
    """Raise ModelFileError unless this is the process `owner`: one forked from it would write all a second time."""
    if os.getpid() != owner:
        raise ModelFileError(
            "a process that your code forked came back into lrfinder, and would write what its parent writes",
            hint="let it end where it was forked, with os._exit(0)",
        )


def is_locked(path: Path) -> bool:
    """Tell whether another process has locked a file that it appends to (`AppendFile.lock`). OSError passes through."""
    if path.is_symlink() or not path.is_file():  # nothing is written through a link
        return False
    lines = AppendFile(path)
    try:
        return not lines.lock()
    finally:
        lines.close()


def is_open_here(path: Path) -> bool:
    """Tell whether this process appends to the file: its own locks don't tell, and closing a second one ends them."""
    with contextlib.suppress(FileNotFoundError):
        status = path.lstat()
        return any((status.st_dev, status.st_ino) == file.identity for file in list(_open_here))
    return False


class AppendFile:
    """A file that grows by whole lines: what a killed process leaves ends in at most one torn line.

    Opened at once, created if there is none, never through a link; with `new`, FileExistsError if there is one. Close
    it. The user's code may close the handle, and open a file of its own under its number: the file is opened again
    then. OSError passes through: see `disk_errors`.
    """

    def __init__(self, path: Path, *, new: bool = False) -> None:
        self._path = path.absolute()
        self._owner = os.getpid()
        self._locked = False
        if path.is_symlink():  # O_NOFOLLOW refuses it too, with an unhelpful message
            raise OSError(errno.ELOOP, "a symbolic link: nothing is written through it")
        self._handle: int | None = self._opened(os.O_CREAT | (os.O_EXCL if new else 0))
        self.identity = identity(self._handle)
        _open_here.add(self)

    def lock(self) -> bool:
        """Keep other processes from locking this file until it is closed; False if another one has.

        The lock ends with the process, its children don't inherit it, and it ends when this process closes the file
        in any other place, too. A file system without locks gives it to all.
        """
        if fcntl is None:
            return True
        try:
            fcntl.lockf(self._open(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno not in {errno.EACCES, errno.EAGAIN}
        self._locked = True
        return True

    @property
    def is_locked_and_there(self) -> bool:
        """Whether no other process has this file's lock, for certain, and its path still names it."""
        with contextlib.suppress(FileNotFoundError):
            status = os.lstat(self._path)
            return self._locked and (status.st_dev, status.st_ino) == self.identity
        return False

    def keep(self, count: int | None = None) -> None:
        """Cut the file after its first `count` lines; None: after its last whole line."""
        data = self.read()
        whole = data.split(b"\n")[:-1][:count]
        length = sum(len(line) + 1 for line in whole)
        if length < len(data):
            self.cut(length)

    def cut(self, length: int) -> None:
        """Cut the file after its first `length` bytes."""
        os.ftruncate(self._open(), length)

    @property
    def size(self) -> int:
        """The length of the file in bytes."""
        return os.fstat(self._open()).st_size

    def add(self, lines: list[str]) -> None:
        """Append `lines`, given without their ends, in one write, and empty the list.

        A disk that fills up takes some of them: those stay in the file and leave the list, and what was taken of the
        next one is cut off.
        """
        data = "".join(f"{line}\n" for line in lines).encode()
        before = self.size
        try:
            _write_all(self._open(), data)
        except OSError:
            with contextlib.suppress(OSError):  # else a torn line is left to the readers
                whole = data.rfind(b"\n", 0, self.size - before) + 1
                self.cut(before + whole)
                del lines[: data.count(b"\n", 0, whole)]
            raise
        lines.clear()

    def sync(self) -> None:
        """Sync what was added to the disk, so that it survives a power cut."""
        os.fsync(self._open())

    def close(self) -> None:
        """Close the file; may be called again."""
        _open_here.discard(self)
        handle, self._handle = self._handle, None
        if handle is not None and identity(handle) == self.identity:
            os.close(handle)

    def read(self) -> bytes:
        """Return what the file holds now."""
        handle = self._open()  # not a second one: closing that would end the lock
        os.lseek(handle, 0, os.SEEK_SET)
        return b"".join(iter(lambda: os.read(handle, _CHUNK), b""))

    def _opened(self, flags: int = 0) -> int:
        return os.open(self._path, os.O_RDWR | os.O_APPEND | _NO_LINK | _BINARY | flags, _MODE)

    def _open(self) -> int:
        if self._handle is None:
            raise RuntimeError(f"{self._path} is closed")
        check_process(self._owner)
        if identity(self._handle) != self.identity:
            self._handle = self._opened()
            if identity(self._handle) != self.identity or (self._locked and not self.lock()):
                raise OSError(errno.ESTALE, "another file took its place while it was written")
        return self._handle


_open_here: WeakSet[AppendFile] = WeakSet()


def identity(handle: int) -> tuple[int, int] | None:
    """Return what tells an open file from all others, or None if the handle was closed."""
    try:
        status = os.fstat(handle)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def write_new(path: Path, data: bytes) -> None:
    """Write a file that must not exist yet: UsageError if it does, EnvironmentFailure if the disk refuses."""
    with disk_errors(path):
        try:
            _write_synced(path, data, None)
        except FileExistsError:
            raise UsageError(f"{path} already exists", hint="name another file, or remove this one first") from None
