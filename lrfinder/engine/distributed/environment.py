"""Which of several processes this one is, as its launcher says. Imports no torch."""

from __future__ import annotations

import contextlib
import math
import os
from dataclasses import dataclass
from pathlib import Path

from lrfinder.errors import UsageError

STEP_TIMEOUT = "LRFINDER_STEP_TIMEOUT"  # the environment variable
STATUS_FILE = "LRFINDER_STATUS_FILE"  # where the exit status goes
STEP_TIMEOUT_S = 60.0  # seconds that an update may take: engine/README.md#step_timeout_s

_NEEDED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """This process among the `size` ones of its job; `local_rank` counts those on this machine."""

    rank: int
    size: int
    local_rank: int
    local_size: int


def launched_place() -> Place | None:
    """Return what torchrun has written into the environment; None if it didn't start this process."""
    if any(not os.environ.get(name) for name in _NEEDED):
        return None
    return Place(
        rank=int(os.environ["RANK"]),
        size=int(os.environ["WORLD_SIZE"]),
        local_rank=int(os.environ["LOCAL_RANK"]),
        local_size=int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
    )


def launch_variables(rank: int, processes: int, host: str, port: int) -> dict[str, str]:
    """Return what torchrun sets for one process of a job on one machine, whose launcher has a TCPStore at the port."""
    alike = {"RANK": "LOCAL_RANK ROLE_RANK", "WORLD_SIZE": "LOCAL_WORLD_SIZE ROLE_WORLD_SIZE"}
    values = {"RANK": rank, "WORLD_SIZE": processes}
    numbers = {name: str(values[key]) for key, names in alike.items() for name in (key, *names.split())}
    return numbers | {
        "MASTER_ADDR": host,
        "MASTER_PORT": str(port),
        "GROUP_RANK": "0",
        "GROUP_WORLD_SIZE": "1",
        "ROLE_NAME": "default",
        "TORCHELASTIC_RUN_ID": "lrfinder",
        "TORCHELASTIC_RESTART_COUNT": "0",
        "TORCHELASTIC_MAX_RESTARTS": "0",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }


def leave_status(status: int) -> None:
    """Write the exit status for the launcher, if it is ours: torchrun ends with 1 whatever the processes end with."""
    path = os.environ.get(STATUS_FILE)
    if path:
        with contextlib.suppress(OSError):
            Path(path).write_text(str(status), encoding="ascii")


def step_timeout_s() -> float:
    """Return the seconds that an update may take on any process, 0 for no limit; the environment may name others.

    Raises UsageError if what it names is no number of seconds.
    """
    text = os.environ.get(STEP_TIMEOUT) or str(STEP_TIMEOUT_S)
    with contextlib.suppress(ValueError):
        if 0 <= (seconds := float(text)) < math.inf:
            return seconds
    raise UsageError(
        f"{STEP_TIMEOUT} is {text!r}, which is no number of seconds", hint="such as 300; 0 waits without a limit"
    )
