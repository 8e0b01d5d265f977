"""What can go wrong with a request, as types; each knows the exit status of the command line.

    LrfinderError            status 2 unless a subclass says otherwise
    ├── UsageError           2  an option, an argument or a path that makes no sense
    ├── ConfigError          2  a schedule config that is not valid
    ├── RunError             2  a run folder that is missing, damaged or from a newer lrfinder
    ├── ModelFileError       3  the user's model file: import, a missing name, an object of the wrong kind
    └── EnvironmentFailure   4  out of memory, a dead loader worker, a full disk

Expected outcomes (the loss diverged, the curve allows no pick, the user pressed Ctrl-C) are values, not errors.
An exception that the user's own code raises is never wrapped: it passes through as it is, and `user_code` notes
what was being run, so that the command line can say so.
"""

from __future__ import annotations

import contextlib
import re
import traceback
from collections.abc import Iterable
from types import TracebackType
from typing import Any, ClassVar, Self

# What a terminal obeys instead of showing it (tabs and line ends aside): it moves the cursor, changes the title of the
# window or the clipboard, or shows text in another order. No file of ours holds any.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_COLOR = re.compile("\x1b\\[[0-9;]*m")

_PLACE = "__lrfinder_place__"
_FRAMES = "__lrfinder_frames__"


class LrfinderError(Exception):
    """A request that can't be met; `hint` says what to do next."""

    exit_status: ClassVar[int] = 2

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(LrfinderError):
    """An option, an argument or a path that makes no sense."""


class OwnWarning(UserWarning):
    """What lrfinder itself warns of; a command prints the message alone."""


def unknown_choice(kind: str, name: str, choices: Iterable[str]) -> UsageError:
    """Return the error for a `name` that isn't one of the `choices`: it lists them, the nearest one first."""
    import difflib

    known = list(choices)
    near = difflib.get_close_matches(name, known, n=1)
    guess = f"did you mean {near[0]}? " if near else ""
    return UsageError(f"unknown {kind} {name!r}", hint=f"{guess}choose one of: {', '.join(known)}")


class ConfigError(LrfinderError):
    """A schedule config that is not valid; the message names file, line and column if they are known."""


class RunError(LrfinderError):
    """A run folder that is missing, damaged, already there, or written by a newer lrfinder."""


class ModelFileError(LrfinderError):
    """The model file lacks a name, or gives an object of the wrong kind."""

    exit_status = 3


class EnvironmentFailure(LrfinderError):  # noqa: N818 - `EnvironmentError` is a builtin and means something else
    """The machine failed, not the request: out of memory, a dead loader worker, a full disk."""

    exit_status = 4


class user_code:  # noqa: N801 - used as a function is: `with user_code("..."):`
    """Run code that the user wrote; an exception passes through unchanged, with `place` noted for `place_of`.

    The innermost place wins: it is the most precise one. A class, because a generator takes four times as long, and an
    update enters half a dozen of these.
    """

    __slots__ = ("place",)

    def __init__(self, place: str) -> None:
        self.place = place  # may be set again inside

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            add_location(error, self.place)


def add_location(error: BaseException, place: str) -> None:
    """Note for `place_of` what the user's code was doing when it raised `error`, unless that is noted already.

    For code that runs at every update, in an `except` clause that raises again: there even `user_code` costs too much.
    """
    if not isinstance(error, LrfinderError | KeyboardInterrupt) and user_code_location(error) is None:
        with contextlib.suppress(AttributeError, TypeError):  # an exception with __slots__ takes no note
            setattr(error, _PLACE, place)


def user_code_location(error: BaseException) -> str | None:
    """What the user's code was doing when it raised `error`, or None if it wasn't the user's code."""
    place = getattr(error, _PLACE, None)
    return place if isinstance(place, str) else None


def visible(text: str) -> str:
    """Return a text without colors, and with a question mark for everything else that a terminal would obey."""
    return CONTROL.sub("?", _COLOR.sub("", text))


def error_text(error: BaseException) -> str:
    """Return the text of `error`, made `visible`; nothing if the user's own class fails to give it."""
    try:
        return visible(str(error))
    except BaseException:  # noqa: BLE001 - it is the user's code, which may raise anything
        return ""


def remember_frames(error: BaseException, frames: Iterable[tuple[Any, ...]] | None = None) -> None:
    """Write frames into `error`, so that they come along from another process: tracebacks can't be sent.

    They are its own, or those of the exception in another process that it stands for.
    """
    if frames is None:
        frames = [(frame.filename, frame.lineno, frame.name, frame.line) for frame in frames_of(error)]
    with contextlib.suppress(AttributeError, TypeError):  # one with slots has no room; it is reported without them
        setattr(error, _FRAMES, list(frames))


def frames_of(error: BaseException) -> list[traceback.FrameSummary]:
    """Return the frames in which `error` was raised, or those of another process if it came from one."""
    remembered = getattr(error, _FRAMES, None)
    if isinstance(remembered, list):
        return list(traceback.StackSummary.from_list(remembered))
    return list(traceback.extract_tb(error.__traceback__))


def fault_of_name(path: str) -> str | None:
    """Return why run.json and configs can't hold the name of a path, or None: on Linux it may be any bytes."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return "the name is not UTF-8 text"
    return "a control character is in the name" if CONTROL.search(path) else None
