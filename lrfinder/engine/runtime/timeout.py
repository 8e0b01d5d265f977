"""A time limit for a call that waits: a timer interrupts the main thread."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from types import FrameType, TracebackType
from typing import Self, TypeVar

_Result = TypeVar("_Result")


class TimedOut(BaseException):
    """The time is up. Like KeyboardInterrupt no `Exception`: a data set that skips bad samples must not catch it."""


class CallTimeout:
    """A context in which `within` limits how long a call takes. Code in C that never returns to Python isn't reached.

    Does nothing outside the main thread, where Python runs no handlers, and where there are no timers (Windows). What
    others do with SIGALRM goes on: their timer is put back after each call, and rings with their handler.
    """

    def __init__(self) -> None:
        self.works = False
        self._armed = False

    def __enter__(self) -> Self:
        if hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread():
            self._previous = signal.getsignal(signal.SIGALRM)
            self.works = self._previous is not None  # one that was set outside Python can't be put back
        if self.works:
            signal.signal(signal.SIGALRM, self._ring)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.works:
            self.works = False
            signal.signal(signal.SIGALRM, self._previous)

    def within(self, seconds: float, call: Callable[..., _Result], *arguments: object) -> _Result:
        """Return what `call(*arguments)` returns; raise TimedOut after `seconds`, which are above 0."""
        if not self.works:
            return call(*arguments)
        left, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
        if left:
            return self._beside_another(seconds, partial(call, *arguments), left, interval)
        self._armed = True
        try:
            return call(*arguments)
        finally:
            self._armed = False
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _beside_another(self, seconds: float, call: Callable[[], _Result], left: float, interval: float) -> _Result:
        if left <= seconds:  # theirs rings first, and theirs is what counts then
            signal.setitimer(signal.ITIMER_REAL, left, interval)
            return call()
        began = time.monotonic()
        self._armed = True
        try:
            return call()
        finally:
            self._armed = False
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - began), 1e-6), interval)

    def _ring(self, signum: int, frame: FrameType | None) -> None:
        if self._armed:
            self._armed = False
            raise TimedOut
        if callable(self._previous):
            self._previous(signum, frame)
        elif self._previous is signal.SIG_DFL:  # it ends the process, as it would without us
            signal.signal(signum, signal.SIG_DFL)
            signal.raise_signal(signum)
