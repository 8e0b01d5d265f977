"""The exit statuses of the commands: one table."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from types import MappingProxyType

from lrfinder.options import Stop

DONE = 0
NOT_CONFIRMED = 1  # `check`: the rate is outside the band; `verify`: the recommendation was corrected
USER_CODE_FAILED = 3
INCONCLUSIVE = 5
INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM
BUG = 70  # EX_SOFTWARE of sysexits.h: none of the contract's statuses means "lrfinder itself is broken"

_OF_SIGNAL: Mapping[Stop, int] = MappingProxyType({Stop.INTERRUPTED: INTERRUPTED, Stop.TERMINATED: TERMINATED})
SIGNALLED = frozenset(_OF_SIGNAL.values())  # a command that ends so leaves at once


def of_signal(stop: Stop | None) -> int | None:
    """Return the status of a command that a signal ended; None if none did."""
    return None if stop is None else _OF_SIGNAL.get(stop)


def of_answer(answer: bool | None) -> int:
    """Return the status of a command that answers a question: yes, no, or None if the question stays open."""
    return INCONCLUSIVE if answer is None else DONE if answer else NOT_CONFIRMED
