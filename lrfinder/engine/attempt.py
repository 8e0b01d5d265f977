"""Attempts at a repeat or a short run: what a signal, a lack of memory or another failure does to them."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from typing import Protocol, TypeVar

import torch

from lrfinder.engine.distributed.exchange import AgreedEnd
from lrfinder.engine.distributed.team import Team
from lrfinder.engine.losses.log import LossLog, StopReason
from lrfinder.engine.micro_batches import MicroBatching
from lrfinder.engine.runtime.failures import BeginAgain, describe_error, environment_failure
from lrfinder.engine.runtime.memory import free_memory
from lrfinder.engine.runtime.signals import Interrupts, Terminated, answer_signal
from lrfinder.records import Stop

_Record_co = TypeVar("_Record_co", covariant=True)


class Attempt(Protocol[_Record_co]):
    """A repeat of a sweep, or a short run, that is attempted once."""

    log: LossLog

    def rewind(self) -> None:
        """Put the user's objects back to where the attempt begins."""

    def train(self, cleanup: contextlib.ExitStack) -> StopReason:
        """Do the work, and return why it ended. Signals act only in here. `cleanup` is closed after it."""

    def progress(self, stop: Stop) -> str:
        """Return in words how far it came: the reason of an end that has no other."""

    def finish(self, stop: Stop, why: str) -> _Record_co:
        """Make the record and report it."""

    @property
    def due(self) -> int:
        """The number of the batch that the loader gives next."""


def run_attempts(
    begin: Callable[[], Attempt[_Record_co]], *, interrupts: Interrupts, batching: MicroBatching, device: torch.device
) -> _Record_co:
    """Run attempts until one ends, and return its record; after each lack of memory batches are computed in more parts.

    A signal ends the attempt; the record says so. Raises EnvironmentFailure if memory ran out for good or a loader
    worker died. Other exceptions pass through unchanged. In both cases a record with Stop.FAILED was made before.
    """
    batching.wasted_updates = 0
    while (record := _attempt(begin(), interrupts, batching)) is None:
        free_memory(device)
    return record


def _attempt(attempt: Attempt[_Record_co], interrupts: Interrupts, batching: MicroBatching) -> _Record_co | None:
    """Run one attempt and return its record; None if memory ran out and it must begin again."""
    log = attempt.log
    try:
        attempt.rewind()
        with contextlib.ExitStack() as cleanup, interrupts.allowed(), torch.enable_grad():
            stop, why = attempt.train(cleanup)
    except BaseException as error:
        if batching.team is not None:
            return _end_of_all(attempt, batching.team, error, interrupts)
        end = _settle(log)
        signalled = answer_signal(interrupts, error)
        if signalled is not None:
            stop, why = signalled, ""
        elif end is not None:  # the training had ended before the exception
            stop, why = end
        elif isinstance(error, BeginAgain) or batching.halve_after_oom(error, log.updates):
            return None
        else:
            attempt.finish(Stop.FAILED, describe_error(error))
            failure = environment_failure(error, batch=attempt.due)
            if failure is None:
                raise
            raise failure from error
    return attempt.finish(stop, why or attempt.progress(stop))


def _end_of_all(
    attempt: Attempt[_Record_co], team: Team, error: BaseException, interrupts: Interrupts
) -> _Record_co | None:
    """Do what `_attempt` does after an exception, as one of several processes: the first failure of all counts.

    A lack of memory ends all: only the process that has it could begin again.
    """
    log = attempt.log
    if interrupts.pending is not None:  # whatever was seen first
        error = KeyboardInterrupt() if interrupts.pending == signal.SIGINT else Terminated("received a signal")
    if isinstance(error, BeginAgain):
        return None
    if isinstance(error, AgreedEnd):
        end = _settle(log) or (error.stop, "")
        return attempt.finish(end[0], end[1] or attempt.progress(end[0]))
    cause = team.failed(environment_failure(error, batch=attempt.due) or error, log.updates)
    _settle(log)
    signalled = answer_signal(interrupts, cause) if isinstance(cause, KeyboardInterrupt | Terminated) else None
    if signalled is not None:
        return attempt.finish(signalled, attempt.progress(signalled))
    attempt.finish(Stop.FAILED, describe_error(cause))
    if cause is error:
        raise error
    raise cause from error


def _settle(log: LossLog) -> StopReason | None:
    """Judge the losses that were under way when an exception came; return the end, if one of them is it."""
    try:
        return log.settle()
    except Exception:  # noqa: BLE001 - a device that reports an error fails every later call
        return None
