"""A time limit for a call that waits: a timer interrupts the main thread."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Self, TypeVar

_Result = TypeVar("_Result")

LOOK = 1.0  # seconds between two looks at the handler: a look takes longer than a small batch (25 us)


class TimedOut(BaseException):
    """The time is up. No `Exception`, like KeyboardInterrupt: a data set that skips bad samples must not catch it."""


class CallTimeout:
    """A context in which `within` limits how long a call takes, by SIGALRM. Code in C isn't interrupted.

    Outside the main thread, and on Windows, calls have no limit: only the main thread runs handlers, and Windows has
    no timers. The user's own SIGALRM timer goes on: it is set again after each call and runs the user's handler. If the
    user's code sets a handler meanwhile, that one stays, and within a second calls have no limit any more.
    """

    def __init__(self) -> None:
        self.works = False
        self._armed = False
        self._lent: tuple[float | None, float] | None = None  # when the user's timer is due, and its interval
        self._next_look = 0.0

    def __enter__(self) -> Self:
        if hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread():
            self._previous = signal.getsignal(signal.SIGALRM)
            self.works = self._previous is not None  # a handler set outside Python can't be put back
        if self.works:
            signal.signal(signal.SIGALRM, self._on_timer)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_back()
        if self._still_handles():
            signal.signal(signal.SIGALRM, self._previous)
        self.works = False

    def _still_handles(self) -> bool:
        """Tell whether the handler is still this object's own."""
        self._next_look = time.monotonic() + LOOK
        self.works = self.works and signal.getsignal(signal.SIGALRM) == self._on_timer
        return self.works

    def within(self, seconds: float, call: Callable[..., _Result], *arguments: object) -> _Result:
        """Return what `call(*arguments)` returns; raise TimedOut after `seconds`, which are above 0."""
        if not self.works or (time.monotonic() >= self._next_look and not self._still_handles()):
            return call(*arguments)
        if self._lent is not None:
            self._give_back()
        left, interval = signal.getitimer(signal.ITIMER_REAL)
        if 0 < left <= seconds:  # the user's timer ends first, so it decides
            return call(*arguments)
        # Noted before the timer is taken: torch's handler of a worker's death raises between any two lines.
        self._lent = (time.monotonic() + left if left else None, interval)
        try:
            self._armed = True
            signal.setitimer(signal.ITIMER_REAL, seconds)
            return call(*arguments)
        finally:
            self._armed = False
            self._give_back()

    def _give_back(self) -> None:
        """Set the timer for the user again, if it is still lent."""
        if self._lent is None:
            return
        due, interval = self._lent
        left = 0.0 if due is None else max(due - time.monotonic(), 1e-6)
        signal.setitimer(signal.ITIMER_REAL, left, interval)
        self._lent = None

    def _on_timer(self, signum: int, frame: FrameType | None) -> None:
        if self._armed:
            self._armed = False
            raise TimedOut
        if self._lent is not None:  # a call has ended, but an exception came before the timer was given back
            self._give_back()
        elif callable(self._previous):
            self._previous(signum, frame)
        elif self._previous is signal.SIG_DFL:  # ends the process, as it would without this context
            signal.signal(signum, signal.SIG_DFL)
            signal.raise_signal(signum)
