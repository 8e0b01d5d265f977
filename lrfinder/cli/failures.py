"""Every failure of a command as one message on standard error and an exit status."""

from __future__ import annotations

import os
import sys
import sysconfig
import traceback
from pathlib import Path

from lrfinder.cli.exit_status import BUG, INTERRUPTED, TERMINATED, USER_CODE_FAILED
from lrfinder.engine.runtime.signals import Terminated
from lrfinder.errors import LrfinderError, frames_of, user_code_location

_USER_FRAMES = 8  # the innermost ones, where the fault is; with two lines each they fill half a terminal

_PACKAGES = frozenset({"site-packages", "dist-packages"})  # by name: one environment may be layered over another

_own_frames = False


def show_own_frames(*, on: bool) -> None:
    """Show whole tracebacks from now on (`--debug`)."""
    global _own_frames  # noqa: PLW0603 - an option sets it, `report` reads it; nothing connects them
    _own_frames = _own_frames or on


def report(error: BaseException) -> int:
    """Print what went wrong to standard error; return the exit status."""
    try:
        return _report(error)
    except OSError:  # the terminal was closed, or the reader of the pipe left
        return _status_of(error)


def _status_of(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, Terminated):
        return TERMINATED
    if isinstance(error, LrfinderError):
        return error.exit_status
    return USER_CODE_FAILED if user_code_location(error) is not None or isinstance(error, SyntaxError) else BUG


def _report(error: BaseException) -> int:
    if _own_frames:
        traceback.print_exception(error)
    if isinstance(error, KeyboardInterrupt):
        print(f"lrfinder: interrupted{f': {error}' if str(error) else ''}", file=sys.stderr)
    elif isinstance(error, Terminated):
        print(f"lrfinder: terminated: {error}", file=sys.stderr)
    elif isinstance(error, LrfinderError):
        print(f"lrfinder: {error}", file=sys.stderr)
        if error.hint:
            print(f"  {error.hint}", file=sys.stderr)
    elif _status_of(error) == USER_CODE_FAILED:
        print(_user_failure(error, user_code_location(error)), file=sys.stderr)
    elif not _own_frames:
        print(f"lrfinder: a fault of lrfinder's own: {type(error).__name__}: {error}", file=sys.stderr)
        print("  run the command again with --debug and report what it prints", file=sys.stderr)
    return _status_of(error)


def _user_failure(error: BaseException, place: str | None) -> str:
    """Return the message for a failure in the user's code, with the frames of the user's files."""
    frames = [frame for frame in frames_of(error) if _is_user_file(frame.filename)][-_USER_FRAMES:]
    lines = [f"lrfinder: your code failed{f' in {place}' if place else ''}:"]
    for frame in frames:
        lines.append(f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}')
        lines += [f"    {frame.line}"] if frame.line else []
    lines += [f"  {line}" for line in "".join(traceback.format_exception_only(error)).rstrip().splitlines()]
    return "\n".join(lines)


def _is_user_file(filename: str) -> bool:
    """Return whether a file is the user's: not of lrfinder, an installed package or Python itself."""
    if filename.startswith("<") or _PACKAGES & set(Path(filename).parts):
        return False
    installed = (str(Path(__file__).parents[1]), sysconfig.get_paths()["stdlib"])
    return not filename.startswith(tuple(f"{folder}{os.sep}" for folder in installed))
