"""What rank 0 tells the other machines to do: the methods of a `Machine`, and the end of all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Open:
    """Runs of the script follow."""


@dataclass(frozen=True, slots=True)
class RunStarted:
    """Begin with another run."""


@dataclass(frozen=True, slots=True)
class Start:
    """Start the process of the plan's rank, on its machine."""

    plan: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kill:
    """End the processes of the run."""


@dataclass(frozen=True, slots=True)
class RunEnded:
    """Put in order what the run has left, and answer."""


@dataclass(frozen=True, slots=True)
class RemoveUnread:
    """Remove what the runs have made and none has read, and answer whether there was anything."""


@dataclass(frozen=True, slots=True)
class Close:
    """No run follows: answer what is left."""


@dataclass(frozen=True, slots=True)
class End:
    """All is done: `value` is what the processes end with, the exit status of a command."""

    value: Any = None
