"""How a trial failed on another machine, as plain data: the user's own class of exception may not be known here."""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from typing import Any, Self

from lrfinder import errors
from lrfinder.errors import (
    LrfinderError,
    add_location,
    error_text,
    frames_of,
    remember_frames,
    user_code_location,
    visible,
)

_PLAIN = (str, int, float, bool, type(None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An exception: its class by name, what it says, what the user's code was doing, and its frames."""

    kind: str
    module: str
    message: str
    arguments: tuple[Any, ...] = ()  # of one of Python's own, if they are plain values
    notes: tuple[str, ...] = ()
    hint: str | None = None
    place: str | None = None
    frames: tuple[tuple[str, int | None, str, str | None], ...] = ()

    @classmethod
    def of(cls, error: BaseException) -> Self:
        """Describe an exception in the process where it was raised."""
        given: Any = ()
        if type(error).__module__ == builtins.__name__:  # the user's own class may do anything here
            given = error.__reduce__()[1]  # an OSError has its file's name beside `args`
        notes = getattr(error, "__notes__", ())
        return cls(
            kind=type(error).__name__,
            module=type(error).__module__,
            message=error_text(error),
            arguments=given if all(isinstance(value, _PLAIN) for value in given) else (),
            notes=tuple(visible(note) for note in notes if isinstance(note, str)),
            hint=error.hint if isinstance(error, LrfinderError) else None,
            place=user_code_location(error),
            frames=tuple((frame.filename, frame.lineno, frame.name, frame.line) for frame in frames_of(error)),
        )

    @property
    def text(self) -> str:
        """What it says, with its class, in a line."""
        first = self.message.partition("\n")[0]
        return first if self.module == errors.__name__ else f"{self.kind}: {first}"

    def error(self) -> BaseException:
        """Return an exception that is reported as this one; of a class that isn't Python's or ours, by name alone."""
        error = self._again()
        for note in self.notes:
            error.add_note(note)
        if self.place is not None:
            add_location(error, self.place)
        remember_frames(error, self.frames)
        return error

    def _again(self) -> BaseException:
        known: Any = {errors.__name__: errors, "builtins": builtins}.get(self.module)
        kind = getattr(known, self.kind, None)
        if isinstance(kind, type) and issubclass(kind, LrfinderError):
            return kind(self.message, hint=self.hint)
        if isinstance(kind, type) and issubclass(kind, BaseException):
            try:
                return kind(*(self.arguments or (self.message,)))
            except TypeError:  # it wants arguments of another kind, as UnicodeDecodeError does
                pass
        stand_in: Any = type(self.kind, (Exception,), {"__module__": self.module})
        error: Exception = stand_in(self.message)
        return error
