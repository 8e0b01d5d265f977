"""A trial made by several processes of one machine, as `lrfinder sweep --nproc N` trains.

This process starts the ranks and holds their store, as torchrun does. Rank 0 makes the trial, the others follow it
(`rank.py`). Whatever happens, none is left.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import IO

from lrfinder.api.training.dispatch import Lost
from lrfinder.api.training.failure import Failure
from lrfinder.api.training.trial import Trial, TrialSpec
from lrfinder.engine.distributed.environment import STEP_TIMEOUT, launch_variables
from lrfinder.formatting import format_end

LATER_S = 30.0  # that ranks may take to end after another one has: they see a dead one in a second, and end in six
_LOOK_S = 0.05
_HOST = "127.0.0.1"


def run_together(spec: TrialSpec, processes: int) -> Trial | Lost:
    """Make a trial in so many processes; each computes with the threads of `spec`.

    Raises what the trial raises. A rank that is killed, or ends itself, is Lost.
    """
    # Files without a name: none is left, however this process ends.
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as answer:
        pickle.dump(spec, given)
        given.flush()
        with _started(spec, processes, given, answer) as ranks:
            _wait(ranks)
            ends = [rank.poll() for rank in ranks]
        answer.seek(0)
        try:
            outcome: Trial | Failure | Lost = pickle.load(answer)  # noqa: S301 - from a process that was started here
        except (EOFError, pickle.UnpicklingError):  # it ended before it had said all
            return Lost(
                "; ".join(f"rank {rank} of {processes} {format_end(status)}" for rank, status in enumerate(ends))
            )
    if isinstance(outcome, Failure):
        raise outcome.error()
    return outcome


@contextlib.contextmanager
def _started(
    spec: TrialSpec, processes: int, given: IO[bytes], answer: IO[bytes]
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start the ranks, which read what is given and write the answer; at the end they and their children are gone."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]  # torch names it in no __all__

    files = (given.fileno(), answer.fileno())
    store = TCPStore(_HOST, 0, is_master=True, wait_for_workers=False)  # no port can be taken by others in between
    ranks: list[subprocess.Popen[bytes]] = []
    try:
        for rank in range(processes):
            variables = launch_variables(rank, processes, _HOST, store.port)
            variables |= {"OMP_NUM_THREADS": str(spec.threads), STEP_TIMEOUT: str(spec.step_timeout_s)}
            ranks.append(
                subprocess.Popen(  # noqa: S603 - this project's own module
                    [sys.executable, "-m", "lrfinder.api.training.rank", *map(str, (*files, os.getpid()))],
                    env={**os.environ, **variables},
                    stdin=subprocess.DEVNULL,
                    pass_fds=files,
                    start_new_session=True,
                )
            )
        yield ranks
    finally:
        for process in ranks:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # the latter on macOS, for one that is gone
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait(ranks: Sequence[subprocess.Popen[bytes]]) -> None:
    """Wait until all have ended, or the others have had their time since the first one did."""
    first_end: float | None = None
    while any(running := [rank.poll() is None for rank in ranks]):
        if not all(running) and first_end is None:
            first_end = time.monotonic()
        if first_end is not None and time.monotonic() - first_end > LATER_S:
            return
        time.sleep(_LOOK_S)
