"""A script of several processes under torchrun, on two machines: watched on both, judged by rank 0."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.processes import environment
from lrfinder.errors import EnvironmentFailure, ModelFileError
from lrfinder.options import Stop
from lrfinder.store import load_run

from .apart import Apart
from .test_several_processes import PROGRAM, means_by_hand


def as_it_was(folder: Path) -> bool:
    return {path.name: path.read_text() for path in folder.iterdir()} == {
        "ddp.py": PROGRAM.read_text(),
        "notes.txt": "mine\n",
    }


def torchrun_on_machines(folders: list[Path], processes: list[int], *command: str) -> list[tuple[int, str, str]]:
    """Run `lrfinder COMMAND` by torchrun, so many processes in each folder; return statuses, output and errors."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    jobs = []
    try:
        for node, (folder, number) in enumerate(zip(folders, processes, strict=True)):
            options = {"nnodes": len(folders), "node-rank": node, "nproc-per-node": number, "master-port": port}
            told = [f"--{name}={value}" for name, value in options.items()]
            started = [sys.executable, "-m", "torch.distributed.run", *told, "--master-addr=127.0.0.1"]
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
            jobs.append(
                subprocess.Popen([*started, "-m", "lrfinder", *command], cwd=folder, env=environment(), **pipes)
            )
        return [(job.wait(), *said) for job in jobs for said in [job.communicate(timeout=200)]]
    finally:
        for job in jobs:
            job.kill()


def test_torchrun_on_two_machines_measures_what_a_loop_by_hand_does(tmp_path: Path) -> None:
    """One process on the first machine, two on the second."""
    folders = [tmp_path / "0", tmp_path / "1"]
    for folder in folders:
        folder.mkdir()
        shutil.copy(PROGRAM, folder)
        (folder / "notes.txt").write_text("mine\n")
    rates = ("--steps", "30", "--min-lr", "1e-3", "--max-lr", "1", "--repeats", "1", "--mode", "continuous")
    sweep = ("sweep", "--script", "ddp.py", *rates, "--out", str(tmp_path / "run"), "--", "writes")
    (status, out, errors), (other_status, silence, other_errors) = torchrun_on_machines(folders, [1, 2], *sweep)
    result = load_run(tmp_path / "run")
    [trace] = result.traces
    assert [trace.initial_loss, *trace.losses] == means_by_hand(tmp_path, 3)
    assert (trace.stop, trace.updates, result.setup.processes) == (Stop.COMPLETED, 30, 3)
    assert "still falls fastest at the highest rate" in out
    assert silence == ""
    # Such a pick is refused, status 5: each process ends with that, torchrun itself with 1.
    assert (status, other_status) == (1, 1)
    for said in (errors, other_errors):
        assert "exitcode  : 5 " in said
    assert all(map(as_it_was, folders))
    # The rank, that on its machine, how many are there, which machine it is, and the rank again, as torchrun counts.
    printed = set((tmp_path / "run" / "script.log").read_text().splitlines())
    assert printed >= {"0 0 1 0 0", "1 0 2 1 1", "2 1 2 1 2"}


def test_every_rank_gets_the_result_and_each_disk_is_as_it_was(apart: Apart) -> None:
    done = apart.sweep("writes")
    [trace] = done.sweep.traces
    assert (trace.stop, trace.updates) == (Stop.COMPLETED, 30)
    assert apart.told == [trace.losses]
    assert as_it_was(apart.here)
    assert as_it_was(apart.there)
    assert "\n--- rank 1\n" in (apart.run / "script.log").read_text()


def test_a_folder_that_machines_share_is_as_it_was(apart: Apart) -> None:
    apart.there = apart.here
    apart.sweep("writes")
    assert as_it_was(apart.here)


def test_a_rank_that_fails_on_another_machine_is_named_with_its_traceback(apart: Apart) -> None:
    with pytest.raises(ModelFileError, match="failed after 3 updates on rank 1 of 2: RuntimeError") as failure:
        apart.sweep("raises")
    assert 'raise RuntimeError("the script' in str(failure.value)
    assert isinstance(apart.told, ModelFileError)
    assert str(apart.told).startswith("rank 0 of 2 failed first: ddp.py failed after 3 updates on rank 1 of 2")


def test_a_rank_that_is_killed_on_another_machine_is_named(apart: Apart) -> None:
    with pytest.raises(EnvironmentFailure, match=r"process on rank 1 of 2 ended by itself: signal 9 after \d updates"):
        apart.sweep("killed")


@pytest.mark.parametrize(
    ("host", "said"),
    [(None, "its process .* is gone without a word"), ("elsewhere", "nothing is heard of it any more")],
)
def test_a_process_of_lrfinder_that_is_killed_is_named_and_what_was_measured_is_kept(
    apart: Apart, host: str | None, said: str
) -> None:
    """What happens on another machine is known by what isn't heard any more."""
    apart.host = host or apart.host
    with pytest.raises(EnvironmentFailure, match=f"rank 1 of 2 failed first: {said}"):
        apart.sweep("slow", when=lambda pid: os.kill(pid, signal.SIGKILL))
    assert as_it_was(apart.here)
    [trace] = load_run(apart.run).traces
    assert trace.stop is Stop.FAILED
    assert len(trace.losses) > 2


def test_a_signal_to_another_machine_ends_all_in_order(apart: Apart) -> None:
    done = apart.sweep("slow", when=lambda pid: os.kill(pid, signal.SIGTERM))
    [trace] = done.sweep.traces
    assert (trace.stop, done.sweep.status) == (Stop.TERMINATED, Stop.TERMINATED)
    assert len(trace.losses) > 2
    assert apart.other.exitcode == -signal.SIGTERM
    assert as_it_was(apart.here)
    assert as_it_was(apart.there)
