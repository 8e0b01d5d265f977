"""Every failure of a command as one message on standard error and an exit status."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
import sysconfig
import traceback
from pathlib import Path

from lrfinder.cli.answers.exit_status import BUG, INTERRUPTED, TERMINATED, USER_CODE_FAILED
from lrfinder.cli.answers.hints import hint_for
from lrfinder.cli.answers.output import print_json_error
from lrfinder.cli.process.stdout import discard_stdout
from lrfinder.engine.runtime.signals import Terminated
from lrfinder.errors import (
    EnvironmentFailure,
    LrfinderError,
    UsageError,
    error_text,
    frames_of,
    user_code_location,
    visible,
)
from lrfinder.files import disk_hint

_USER_FRAMES = 8  # the innermost ones, where the fault is; with two lines each they fill half a terminal

_PACKAGES = frozenset({"site-packages", "dist-packages"})  # by name: one environment may be layered over another

# What libraries are told if the memory that a process may have is not enough to load or start them.
_NO_ROOM = re.compile(r".*(failed to map segment|[Cc]annot allocate memory|can't start new thread|std::bad_alloc).*")
_NO_SUCH_PATH = frozenset({errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.ENOENT})

_own_frames = False


def show_own_frames(*, on: bool) -> None:
    """Show whole tracebacks from now on (`--debug`)."""
    global _own_frames  # noqa: PLW0603 - an option sets it, `report` reads it; nothing connects them
    _own_frames = _own_frames or on


def report(error: BaseException) -> int:
    """Print what went wrong to standard error, with --json as a document to standard output, too; return the status."""
    error = _of_the_machine(error) or error
    status = _status_of(error)
    with contextlib.suppress(OSError):  # the terminal was closed, the disk is full, or the reader of the pipe left
        if _own_frames:
            sys.stderr.write(visible("".join(traceback.format_exception(error))) + "\n")
        if text := _text_of(error, status):
            sys.stderr.write(visible(text) + "\n")
    with contextlib.suppress(OSError, EnvironmentFailure):
        hint = error.hint if isinstance(error, LrfinderError) else _hint_for(error)
        print_json_error(type(error).__name__, error_text(error), hint=hint, status=status)
    return status


def report_usage(ended: SystemExit) -> None:
    """Print what Typer said to standard error as a document, too, if --json was given."""
    error = ended.__context__
    said = getattr(error, "format_message", None)
    if said is not None and isinstance(ended.code, int):
        with contextlib.suppress(OSError, EnvironmentFailure):
            print_json_error(UsageError.__name__, said(), hint=None, status=ended.code)


def _of_the_machine(error: BaseException) -> LrfinderError | None:
    """Return what the system's refusal is in the contract's words, if it reached no place that knows more of it."""
    if isinstance(error, LrfinderError) or user_code_location(error) is not None:
        return None
    no_room = _NO_ROOM.search(error_text(error)) if isinstance(error, ImportError | RuntimeError | OSError) else None
    if isinstance(error, MemoryError) or no_room is not None:
        what = no_room[0] if no_room is not None else error_text(error) or type(error).__name__
        return EnvironmentFailure(f"out of memory: {what}", hint="free some, or raise its limit (`ulimit -v`)")
    if not isinstance(error, OSError):
        return None
    if isinstance(getattr(error.__context__, "exit_code", None), int):  # Typer was about to say it
        return UsageError(str(error.__context__))
    reason, file = error.strerror or error_text(error), error.filename
    if error.errno in _NO_SUCH_PATH:
        return UsageError(f"{file or 'the working folder'}: {reason}", hint="check the path")
    if file is None:  # only the standard streams have no name
        discard_stdout()
    return EnvironmentFailure(f"{file or 'standard output'}: {reason}", hint=disk_hint(error))


def _status_of(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, Terminated):
        return TERMINATED
    if isinstance(error, LrfinderError):
        return error.exit_status
    return USER_CODE_FAILED if user_code_location(error) is not None or isinstance(error, SyntaxError) else BUG


def _text_of(error: BaseException, status: int) -> str:
    if isinstance(error, KeyboardInterrupt):
        return f"lrfinder: interrupted{f': {error}' if str(error) else ''}"
    if isinstance(error, Terminated):
        return f"lrfinder: terminated: {error}"
    if isinstance(error, LrfinderError):
        return f"lrfinder: {error}" + (f"\n  {error.hint}" if error.hint else "")
    if status == USER_CODE_FAILED:
        return _user_failure(error, user_code_location(error))
    if _own_frames:
        return ""
    return (
        f"lrfinder: a fault of lrfinder's own: {type(error).__name__}: {error_text(error)}\n"
        "  run the command again with --debug and report what it prints"
    )


def _user_failure(error: BaseException, place: str | None) -> str:
    """Return the message for a failure in the user's code, with the frames of the user's files."""
    frames = [frame for frame in frames_of(error) if _is_user_file(frame.filename)][-_USER_FRAMES:]
    lines = [f"lrfinder: your code failed{f' in {place}' if place else ''}:"]
    for frame in frames:
        lines.append(f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}')
        lines += [f"    {frame.line}"] if frame.line else []
    lines += [f"  {line}" for line in "".join(traceback.format_exception_only(error)).rstrip().splitlines()]
    hint = _hint_for(error)
    lines += [f"  {hint}"] if hint else []
    return "\n".join(lines)


def _hint_for(error: BaseException) -> str | None:
    place = user_code_location(error)
    if place is None:
        return None
    try:
        return hint_for(error, place)
    except Exception:  # noqa: BLE001 - the text of the user's own class may fail
        return None


def _is_user_file(filename: str) -> bool:
    """Return whether a file is the user's: not of lrfinder, an installed package or Python itself."""
    if filename.startswith("<") or _PACKAGES & set(Path(filename).parts):
        return False
    installed = (str(Path(__file__).parents[2]), sysconfig.get_paths()["stdlib"])
    return not filename.startswith(tuple(f"{folder}{os.sep}" for folder in installed))
