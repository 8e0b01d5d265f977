"""Standard output holds results alone. It may be closed, full, a pipe that nobody reads, or a terminal that is gone."""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import stat
import sys
from collections.abc import Iterator
from typing import Any

from lrfinder.errors import EnvironmentFailure, ModelFileError
from lrfinder.files import disk_hint, identity


def open_missing() -> None:
    """Open the standard streams that are closed.

    Else the next file that is opened, say the curve, would get the number of standard output, and a library would print
    into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    sys.stdin = sys.stdin or _stream(0, "r")
    sys.stdout = sys.stdout or _stream(1, "w")
    sys.stderr = sys.stderr or _stream(2, "w")


def escape_what_it_lacks() -> None:
    r"""Let standard output show a character that its encoding lacks as \xe9; Python would raise an exception.

    Where Python itself gives the bytes of a name back, as in the C locale, that stays so.
    """
    reconfigure = getattr(sys.stdout, "reconfigure", None)  # in a test it may be another kind of object
    if reconfigure is not None and sys.stdout.errors == "strict":
        reconfigure(errors="backslashreplace")


def _stream(number: int, mode: str) -> Any:
    return open(number, mode, encoding="utf-8", closefd=False)


@contextlib.contextmanager
def stdout_guard() -> Iterator[None]:
    """Write to standard output. If nobody reads it any more, the rest is dropped and the exit status stays the same.

    Raises EnvironmentFailure if it can't be written: the disk is full, say.
    """
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        reader_left = _reader_left(error)
        discard_stdout()
        if not reader_left:
            raise EnvironmentFailure(f"standard output: {error.strerror or error}", hint=disk_hint(error)) from error


@contextlib.contextmanager
def redirect_user_output() -> Iterator[None]:
    """Send to standard error what is printed inside, and what functions registered for the exit print.

    This includes the output of compiled code and of other programs, which write to file 1 past `sys.stdout`. Code that
    closes `sys.stdout` or `sys.stderr`, or puts another object there, takes them from nobody else.
    """
    stream = sys.stdout
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, ValueError):  # in a test it may be no file, and has no number
            stream.flush()
            number, errors = stream.fileno(), sys.stderr.fileno()
            saved = os.dup(number)
            stack.enter_context(_restored(stream, number, saved))
            os.dup2(errors, number)
        try:
            with _kept_open(sys.stderr), contextlib.redirect_stderr(sys.stderr), contextlib.redirect_stdout(sys.stderr):
                yield
        finally:
            atexit.register(_redirect_at_exit)  # the last one registered runs first


@contextlib.contextmanager
def _restored(stream: Any, number: int, saved: int) -> Iterator[None]:
    """Put the file `saved` back as `number` at the end.

    Raises ModelFileError if the user's code has closed it: what has its number now is another file.
    """
    before = identity(saved)
    lost = False
    try:
        yield
    finally:
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
        lost = identity(saved) != before
        if not lost:
            os.dup2(saved, number)
            os.close(saved)
    if lost:
        raise ModelFileError("your code closed standard output", hint="let it close only the files that it opens")


@contextlib.contextmanager
def _kept_open(stream: Any) -> Iterator[None]:
    """Let `stream.close()` do no more than flush."""
    with contextlib.suppress(AttributeError):  # in a test it may be of a class without attributes
        stream.close = stream.flush
    try:
        yield
    finally:
        with contextlib.suppress(AttributeError):
            del stream.close


def _redirect_at_exit() -> None:
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())


def _reader_left(error: OSError) -> bool:
    """Return whether the pipe has no reader or the terminal was closed; False for a disk that refuses."""
    if error.errno == errno.EIO:
        with contextlib.suppress(OSError, ValueError):
            return stat.S_ISCHR(os.fstat(sys.stdout.fileno()).st_mode)
    return isinstance(error, BrokenPipeError)


def discard_stdout() -> None:
    """Redirect standard output to the null device, with what its buffer holds."""
    with contextlib.suppress(OSError, ValueError):  # in a test it may be no file, and has no number
        null_device = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null_device, sys.stdout.fileno())
        os.close(null_device)
