"""Standard input, output and error as they may be: closed, a pipe that nobody reads, a terminal that is gone, full."""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import stat
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

from lrfinder.errors import EnvironmentFailure


def open_missing() -> None:
    """Open what was closed when the process began: else the curve could become file 1, and a library print into it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    sys.stdin = sys.stdin or _stream(0, "r")
    sys.stdout = sys.stdout or _stream(1, "w")
    sys.stderr = sys.stderr or _stream(2, "w")


def _stream(number: int, mode: str) -> Any:
    return open(number, mode, encoding="utf-8", closefd=False)


@contextlib.contextmanager
def stdout_guard() -> Iterator[None]:
    """Write to standard output; where nobody reads it any more the rest is dropped, and the exit status still tells.

    Raises EnvironmentFailure where it can't be written: the disk behind it is full, say.
    """
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        unread = _nobody_reads(error)
        discard_stdout()
        if not unread:
            raise EnvironmentFailure(
                f"standard output: {error.strerror or error}", hint="free some space there, or name another place"
            ) from error


@contextlib.contextmanager
def redirect_user_output() -> Iterator[None]:
    """Send to standard error what is printed inside, and later, when what was registered for the exit runs.

    Also what compiled code writes, and the programs that are started: to file 1, past `sys.stdout`.
    """
    stream = sys.stdout
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, ValueError):  # one that is no file, in a test say, has no number
            stream.flush()
            number, errors = stream.fileno(), sys.stderr.fileno()
            kept = os.dup(number)
            stack.callback(_put_back, stream, number, kept)
            os.dup2(errors, number)
        try:
            with contextlib.redirect_stdout(sys.stderr):
                yield
        finally:
            atexit.register(_no_more_results)  # the last one registered runs first


def _put_back(stream: Any, number: int, kept: int) -> None:
    with contextlib.suppress(OSError, ValueError):
        stream.flush()
    os.dup2(kept, number)
    os.close(kept)


def _no_more_results() -> None:
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())


def _nobody_reads(error: OSError) -> bool:
    """Tell a reader that left, or a terminal that was closed, from a disk that refuses."""
    if error.errno == errno.EIO:
        with contextlib.suppress(OSError, ValueError):
            return stat.S_ISCHR(os.fstat(sys.stdout.fileno()).st_mode)
    return isinstance(error, BrokenPipeError)


def discard_stdout() -> None:
    """Send what is still in standard output's buffer, and all that follows, nowhere."""
    with contextlib.suppress(OSError, ValueError):  # one that is no file, in a test say, has no number
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def exit_fast(status: int) -> NoReturn:
    """End the process with what people registered for its end, and without taking it apart.

    Taking apart a process that loaded torch lasts about a second, and waits for the user's threads.
    """
    with contextlib.suppress(BaseException):
        atexit._run_exitfuncs()  # noqa: SLF001 - what `sys.exit` would run; there is no public name for it
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)
