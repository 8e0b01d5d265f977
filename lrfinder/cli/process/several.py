"""Several processes of one command: started by torchrun's own Python interface, or by torchrun itself.

Rank 0 is the command as always. The others follow it, print nothing, and end with it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from lrfinder.cli.answers.exit_status import INTERRUPTED, SIGNALLED, TERMINATED
from lrfinder.cli.answers.output import warn
from lrfinder.engine.distributed.environment import STATUS_FILE, launched_place, leave_status
from lrfinder.errors import EnvironmentFailure
from lrfinder.formatting import format_end
from lrfinder.options import MOST_PROCESSES, Strategy

SHUTDOWN_S = 2  # seconds that processes have to end after a signal or the failure of another, before they are killed

Nproc = Annotated[
    int | None,
    typer.Option(
        "--nproc",
        metavar="N",
        min=1,
        max=MOST_PROCESSES,
        help="Train in N processes, one CUDA device each (or on the CPU), as `torchrun --nproc-per-node N` does: each "
        "has its own batch, so that an update takes N of them. With --on each trial is made so, with --script each "
        "run.",
    ),
]
StrategyOption = Annotated[
    Strategy,
    typer.Option(
        "--strategy",
        help="How the processes of --nproc share the model. `ddp`: each has all weights, and gradients are averaged; "
        "`fsdp2`: each has its part of every weight, gradient and optimizer state.",
    ),
]


def in_several(nproc: int | None) -> None:
    """Run this command in `nproc` processes and leave with its exit status; None, or in one of them: do nothing."""
    if nproc is not None and launched_place() is None:
        raise typer.Exit(_launch(nproc, sys.argv[1:]))


def is_follower() -> bool:
    """Return whether another process of the job is the command, and this one follows it.

    Those of `lrfinder run` are the script's own: they follow nobody.
    """
    place = launched_place()
    return place is not None and place.rank > 0 and sys.argv[1:2] != ["run"]


def follow_command() -> int:
    """Do what rank 0 says, and return the exit status."""
    from lrfinder.cli.process.torch_import import load_torch

    load_torch()
    from lrfinder.engine.distributed.launcher import wait_for_call
    from lrfinder.engine.distributed.team import Team, join, may_speak
    from lrfinder.scripts.machines import members

    place = launched_place()
    assert place is not None  # noqa: S101 - `is_follower` has looked
    team: Team | members.Members | None = None
    try:
        wanted = wait_for_call(place)
        if wanted.scripts:
            from lrfinder.scripts.machines import following

            team = members.join(None)
            return int(following.follow(team))
        if wanted.device is None:
            return wanted.status
        from lrfinder.api.sweeping.together import follow
        from lrfinder.cli.process.user_code import run_user_code

        with run_user_code():
            team = join(wanted.device)  # the command line may not name it, but a run folder
            assert team is not None  # noqa: S101 - torchrun has started this process
            follow(team)
    except BaseException as error:
        cause = error if team is None else team.failed(error.__cause__ or error, None)
        fault = None if team is None else team.watch.fault
        if fault is None:
            raise
        if may_speak(fault, place.rank):
            leave_status(fault.status)
            raise cause from None
        return fault.status
    finally:
        if team is not None:
            team.leave()
    return 0


def end_quietly(error: BaseException) -> int | None:
    """Return the status of a process that followed until a signal came; None if this is the command itself."""
    return None if not is_follower() else INTERRUPTED if isinstance(error, KeyboardInterrupt) else TERMINATED


def leave_job(status: int) -> None:
    """Tell the other processes, if there are any, that the command ends with `status`."""
    place = launched_place()
    if place is None or place.rank > 0:
        return
    leave_status(status)
    ends_others = place.size == place.local_size and (status or place.size == 1)  # the launcher does, if one fails
    if "torch" not in sys.modules and ends_others:
        return
    from lrfinder.api.sweeping.together import finish
    from lrfinder.engine.distributed.launcher import dismiss
    from lrfinder.engine.distributed.team import current_team
    from lrfinder.scripts.machines.members import current_members

    with contextlib.suppress(Exception):  # the launcher's store may be gone
        team, members = current_team(), current_members()
        if members is not None:
            members.end(status)
            members.leave()
        elif team is not None:
            finish(team)
            team.leave()
        elif place.size > 1:
            dismiss(place, status)


def _launch(nproc: int, arguments: Sequence[str]) -> int:
    """Run `lrfinder ARGUMENTS` in `nproc` processes and return its exit status."""
    import logging
    import tempfile
    import uuid

    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.disable(logging.CRITICAL)  # the processes say themselves what is to be said
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // nproc)))
    os.environ["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] = str(SHUTDOWN_S)
    with tempfile.TemporaryDirectory(prefix="lrfinder-") as folder:
        status_file = Path(folder) / "status"
        os.environ[STATUS_FILE] = str(status_file)
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=nproc,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=os.devnull),
        )
        ends: dict[int, int] = {}
        try:
            elastic_launch(config, sys.executable)("-m", "lrfinder", *arguments)
        except ChildFailedError as error:
            ends = {rank: it.exitcode for rank, it in sorted(error.failures.items())}
        except SignalException as error:
            return _status_in(status_file) or 128 + int(error.sigval)
        status = _status_in(status_file)
    said = {status, -signal.SIGTERM, *SIGNALLED, EnvironmentFailure.exit_status}
    telling = [f"rank {rank} {format_end(end)}" for rank, end in ends.items() if end not in said]
    if status is None:
        raise EnvironmentFailure(f"the processes ended without a result: {'; '.join(telling) or 'nobody says why'}")
    if telling:
        warn("; ".join(telling))
    return status


def _status_in(file: Path) -> int | None:
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
