"""Ctrl-C, SIGTERM and a closed terminal: exceptions while the sweep can be left, and remembered while it can't."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self

from lrfinder.options import Stop

# SIGHUP, which Windows doesn't know: the terminal was closed. Like SIGTERM it asks the process to end.
_TERMINATING: tuple[int, ...] = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
_SIGNALS = (signal.SIGINT, *_TERMINATING)


class Terminated(BaseException):
    """SIGTERM or SIGHUP arrived. No `Exception`, like KeyboardInterrupt: code that handles errors must not catch it."""


class Received:
    """Keeps the exception that a signal has raised, once one has."""

    def __init__(self) -> None:
        self._raised: KeyboardInterrupt | Terminated | None = None

    def behind(self, error: BaseException) -> BaseException:
        """Return the exception that a signal raised, or else `error`: compiled code may replace that exception."""
        return self._raised or error

    def terminate(self, signum: int, _frame: FrameType | None) -> NoReturn:
        """Handle SIGTERM or SIGHUP by raising Terminated."""
        self._raised = Terminated(f"received {signal.Signals(signum).name}")
        raise self._raised

    def interrupt(self, _signum: int, _frame: FrameType | None) -> NoReturn:
        """Handle SIGINT by raising KeyboardInterrupt, as Python does."""
        self._raised = KeyboardInterrupt()
        raise self._raised


@contextlib.contextmanager
def signals_as_exceptions() -> Iterator[Received]:
    """Let SIGTERM and SIGHUP raise Terminated, and SIGINT KeyboardInterrupt; put the old handlers back at the end.

    An ignored SIGHUP (`nohup`) or SIGINT (a shell's background job) stays ignored. Does nothing outside the main
    thread, since Python delivers signals only there.
    """
    received = Received()
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    previous = {
        signum: signal.signal(signum, received.terminate)
        for signum in _TERMINATING
        if signum == signal.SIGTERM or signal.getsignal(signum) is not signal.SIG_IGN
    }
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        previous[signal.SIGINT] = signal.signal(signal.SIGINT, received.interrupt)
    try:
        yield received
    finally:
        for signum, handler in previous.items():
            # None: the handler was set outside Python and can't be set again from here.
            signal.signal(signum, signal.SIG_DFL if handler is None else handler)


@contextlib.contextmanager
def ended_in_order() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise Terminated if they would end the process at once; they end it behind this block.

    Does nothing outside the main thread.
    """
    received: list[int] = []

    def terminate(signum: int, _frame: FrameType | None) -> NoReturn:
        received.append(signum)
        raise Terminated(f"received {signal.Signals(signum).name}")

    here = threading.current_thread() is threading.main_thread()
    deadly = [signum for signum in _TERMINATING if here and signal.getsignal(signum) == signal.SIG_DFL]
    for signum in deadly:
        signal.signal(signum, terminate)
    try:
        yield
    finally:
        for signum in deadly:
            signal.signal(signum, signal.SIG_DFL)
        if received:
            signal.raise_signal(received[0])


def ignore_signals() -> None:
    """Ignore all these signals from now on: the process is about to end because of one."""
    if threading.current_thread() is threading.main_thread():
        for signum in _SIGNALS:
            signal.signal(signum, signal.SIG_IGN)


class Interrupts:
    """A context manager in which Ctrl-C, SIGTERM and SIGHUP act only where `allowed()` says so.

    A signal that arrives elsewhere is remembered and acts at the next such place. To act means to call the signal's
    handler. If that raises (KeyboardInterrupt, Terminated), all later signals wait: a second Ctrl-C can't interrupt
    the restoring after the first. If it raises nothing (a job manager's handler that makes a note), the sweep goes on.
    Signals without a Python handler keep their meaning.

    `answered()` notes that the sweep ended because of the signal. A remembered signal that was never answered acts
    when this context ends.
    """

    def __init__(self) -> None:
        self._held = True
        self._allowed = False  # within `allowed()`
        self.pending: int | None = None  # the signal that asks the sweep to end
        self._answered = False
        self._block = _Held(self)  # one for all updates: it has no state of its own
        self._handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for signum in _SIGNALS:
                handler = signal.getsignal(signum)
                if callable(handler):
                    self._handlers[signum] = handler
                    signal.signal(signum, self._received)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for signum, handler in self._handlers.items():
            signal.signal(signum, handler)
        if error is None and self.pending is not None and not self._answered:
            signal.raise_signal(self.pending)

    def answered(self) -> None:
        """Note that the sweep ends because of the signal."""
        self._answered = True

    @contextlib.contextmanager
    def allowed(self) -> Iterator[None]:
        """Let signals act in this block; a remembered one acts at once."""
        self._allowed = True
        self.release()
        try:
            yield
        finally:
            self._held, self._allowed = True, False

    def held(self) -> _Held:
        """Remember signals in a `with` block; if it is inside an allowed one, a remembered signal acts at its end."""
        return self._block

    def release(self) -> None:
        """Let signals act again, if they are allowed; a remembered one acts at once."""
        if not self._allowed:
            return
        self._held = False
        if self.pending is not None:
            signal.raise_signal(self.pending)

    def _received(self, signum: int, frame: FrameType | None) -> None:
        # Stays pending although it acts: if the user's code swallows the exception, the next release acts again.
        self.pending = signum
        if not self._held:
            self._held = True
            self._handlers[signum](signum, frame)
            self._held = False
            self.pending = None


class _Held:
    """The block of `Interrupts.held`; a class, because every update enters it, and a generator takes longer."""

    __slots__ = ("_interrupts",)

    def __init__(self, interrupts: Interrupts) -> None:
        self._interrupts = interrupts

    def __enter__(self) -> None:
        self._interrupts._held = True  # noqa: SLF001 - it is the other half of Interrupts

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self._interrupts._allowed:  # noqa: SLF001
            # After an exception the sweep is on its way out, where signals wait.
            self._interrupts._held = False  # noqa: SLF001
            if self._interrupts.pending is not None:
                self._interrupts.release()


def answer_signal(interrupts: Interrupts, error: BaseException) -> Stop | None:
    """Return how a signal ends the work that `error` ended, and note that it was answered; None if there was none."""
    if isinstance(error, KeyboardInterrupt | Terminated):
        terminated = isinstance(error, Terminated)
    elif interrupts.pending is not None:
        # A Ctrl-C in a terminal reaches the loader's workers, too; their end may be seen first.
        terminated = interrupts.pending != signal.SIGINT
    else:
        return None
    interrupts.answered()
    return Stop.TERMINATED if terminated else Stop.INTERRUPTED
