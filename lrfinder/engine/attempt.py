"""One attempt at a repeat or a short run: what happens to signals, to a lack of memory, and to any other failure."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from typing import Protocol, TypeVar

import torch

from lrfinder.engine.losses.log import LossLog, StopReason
from lrfinder.engine.micro_batches import MicroBatching
from lrfinder.engine.runtime.failures import environment_failure
from lrfinder.engine.runtime.memory import free_memory
from lrfinder.engine.runtime.signals import Interrupts, Terminated
from lrfinder.errors import error_text, user_code_location
from lrfinder.records import Stop

_Record_co = TypeVar("_Record_co", covariant=True)


class Attempt(Protocol[_Record_co]):
    """What is attempted: a repeat of a sweep, or a short run."""

    log: LossLog

    def rewind(self) -> None:
        """Put the user's objects back to where it begins."""

    def train(self, cleanup: contextlib.ExitStack) -> StopReason:
        """Do the work, and return why it ended; signals act in here only. `cleanup` is closed after it."""

    def progress(self, stop: Stop) -> str:
        """Say how far it came, as the reason of an end that has none of its own."""

    def finish(self, stop: Stop, why: str) -> _Record_co:
        """Make the record and report it."""

    @property
    def due(self) -> int:
        """The number of the batch that the loader gives next."""


def run_attempts(
    begin: Callable[[], Attempt[_Record_co]], *, interrupts: Interrupts, batching: MicroBatching, device: torch.device
) -> _Record_co:
    """Attempt what `begin` returns until it ends; each time memory runs out, again with each batch in smaller parts.

    A signal ends it and is an answer. Raises EnvironmentFailure if memory ran out for good or a loader worker died;
    whatever else is raised passes through unchanged. In both cases a record with Stop.FAILED has been made before.
    """
    batching.wasted_updates = 0
    while (record := _attempt(begin(), interrupts, batching)) is None:
        free_memory(device)
    return record


def _attempt(attempt: Attempt[_Record_co], interrupts: Interrupts, batching: MicroBatching) -> _Record_co | None:
    """Return the record of an attempt; None if it is to begin again, since memory ran out."""
    log = attempt.log
    try:
        attempt.rewind()
        with contextlib.ExitStack() as cleanup, interrupts.allowed(), torch.enable_grad():
            stop, why = attempt.train(cleanup)
    except (KeyboardInterrupt, Terminated) as signalled:
        _settle(log)
        stop, why = interrupted(interrupts, terminated=isinstance(signalled, Terminated)), ""
    except BaseException as error:
        end = _settle(log)
        if interrupts.pending is not None:
            # A Ctrl-C in a terminal reaches the loader's workers too; their end may be seen first.
            stop, why = interrupted(interrupts, terminated=interrupts.pending != signal.SIGINT), ""
        elif end is not None:  # before it came to this
            stop, why = end
        elif batching.halve_after_oom(error, log.updates):
            return None
        else:
            attempt.finish(Stop.FAILED, describe_error(error))
            failure = environment_failure(error, batch=attempt.due)
            if failure is None:
                raise
            raise failure from error
    return attempt.finish(stop, why or attempt.progress(stop))


def interrupted(interrupts: Interrupts, *, terminated: bool) -> Stop:
    """Answer a signal: return how it ends what it interrupted."""
    interrupts.answered()
    return Stop.TERMINATED if terminated else Stop.INTERRUPTED


def _settle(log: LossLog) -> StopReason | None:
    """Judge what was under way when an exception came, and return the end, if it had come before."""
    try:
        return log.settle()
    except Exception:  # noqa: BLE001 - a device that reports an error fails every call; what came first is told
        return None


def describe_error(error: BaseException) -> str:
    """Return what happened in one line."""
    place = user_code_location(error)
    text = " ".join(error_text(error).split())
    told = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return f"{told} (while {place})" if place else told
