"""Trials on Ray: a real cluster of several nodes on this machine, and an instance that a command starts itself."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import tempfile
import threading
import time
from pathlib import Path

import psutil
import pytest

import lrfinder
import lrfinder.errors
from helpers.ray_sweep import SWEEP
from lrfinder.advice.sweep.exploration import next_run
from lrfinder.api.sweeping import sweep_parts
from lrfinder.errors import OwnWarning

pytestmark = pytest.mark.needs("ray")

VERIFY = {"steps": 120, "budget": 360}
EVERY_FAULT = bool(os.environ.get("LRFINDER_EVERY_FAULT"))
ENDS = [(signal.SIGKILL, -9)] if EVERY_FAULT else []
ENDS += [(signal.SIGINT, 130)]


def wait_for(reached, seconds=120.0):
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def swept_alike(one: Path, other: Path) -> None:
    for file in ("curve.csv", "runs.jsonl"):
        assert (one / file).read_bytes() == (other / file).read_bytes(), file
    shown = [json.loads((run / "run.json").read_text()) for run in (one, other)]
    for document in shown:
        document["source"]["reference"] = None
    assert shown[0] == shown[1]


def trials(said):
    return sorted((run.plan.steps, run.plan.lr, run.loss, run.updates) for run in said.trials)


def test_a_sweep_is_the_same_bytes(cluster, folder, here):
    lrfinder.sweep(folder / "model.py", out=folder / "new", on="ray", **SWEEP)
    swept_alike(folder / "new", here / "run")


def test_trials_are_the_same_in_this_process_and_on_ray_also_with_a_killed_process(cluster, folder, here):
    one = trials(lrfinder.verify(here / "run", jobs=1, **VERIFY))
    assert one
    # `--jobs 2` measures the same, too: tests/cli/test_verify.py.
    (folder / "killed").touch()
    assert trials(lrfinder.verify(folder / "run", on="ray", **VERIFY)) == one
    assert not (folder / "killed").exists()


@pytest.mark.skipif(not EVERY_FAULT, reason="`make test-ray` fails in more ways")
def test_a_node_that_leaves_in_mid_run_costs_its_trials_only(cluster, folder, here):
    lost = cluster.add_node(num_cpus=2, env_vars={"NODE": "c"})
    (folder / "noting").touch()
    (folder / "slow").touch()

    def remove():
        wait_for((folder / "on-c").exists)
        time.sleep(0.1)
        cluster.remove_node(lost, allow_graceful=False)

    remover = threading.Thread(target=remove)
    remover.start()
    lrfinder.sweep(folder / "model.py", out=folder / "new", on="ray", **SWEEP)
    remover.join()
    assert (folder / "on-c").exists()
    swept_alike(folder / "new", here / "run")


def test_a_node_that_fails_is_left_out_and_a_faulty_model_file_is_not_blamed_on_nodes(cluster, folder, here):
    (folder / "broken").touch()
    with pytest.warns(
        OwnWarning, match="is left out: a trial failed on it that succeeded elsewhere: OSError:.*disk of a"
    ):
        lrfinder.sweep(folder / "model.py", out=folder / "new", on="ray", **SWEEP)
    swept_alike(folder / "new", here / "run")
    (folder / "broken").unlink()
    (folder / "bug").touch()
    with pytest.raises(Exception, match=r"^mine$") as raised:
        lrfinder.sweep(folder / "model.py", on="ray", **SWEEP)
    assert type(raised.value).__name__ == "Odd"
    assert any(frame.filename.endswith("model.py") for frame in lrfinder.errors.frames_of(raised.value))


def test_a_sweep_that_is_interrupted_carries_on(cluster, folder, here):
    (folder / "slow").touch()

    def interrupt():
        wait_for((folder / "new" / "run.json").exists)  # a repeat has ended
        (folder / "held").touch()  # the sweep doesn't, until it gets the signal
        os.kill(os.getpid(), signal.SIGINT)

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    cut = lrfinder.sweep(folder / "model.py", out=folder / "new", on="ray", **SWEEP)
    interrupter.join()
    assert cut.status is lrfinder.Stop.INTERRUPTED
    assert 1 < len(cut.traces) <= SWEEP["repeats"]
    for flag in ("slow", "held"):
        (folder / flag).unlink()
    lrfinder.resume(folder / "new", on="ray")
    swept_alike(folder / "new", here / "run")


def test_a_signal_that_comes_while_the_next_rate_is_chosen_ends_the_sweep(cluster, folder, here, monkeypatch):
    def interrupted(*known):
        monkeypatch.undo()
        signal.raise_signal(signal.SIGINT)
        return next_run(*known)

    monkeypatch.setattr(sweep_parts, "next_run", interrupted)
    cut = lrfinder.sweep(folder / "model.py", out=folder / "new", on="ray", **SWEEP)
    assert [run.stop for run in cut.runs] == [lrfinder.Stop.INTERRUPTED]
    lrfinder.resume(folder / "new", on="ray")
    swept_alike(folder / "new", here / "run")


def processes_of(folder: str) -> list[str]:
    """The processes that have a file open in a folder of this name, by their titles."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any(f"/{folder}" in file.path for file in process.open_files()):
                found.append(" ".join(process.cmdline()))
    return found


def test_an_instance_of_its_own_ends_with_its_command_and_the_same_command_carries_on(cluster, folder, here, zygote):
    """One is killed (`make test-ray`), one interrupted, and the last one, on the cluster, makes what is missing."""
    arguments = ("verify", "run", "--steps", "120", "--budget", "360", "--json", "--on", "ray")
    expected = trials(lrfinder.verify(here / "run", jobs=1, **VERIFY))
    (folder / "slow").touch()
    log = folder / "run" / "trials.jsonl"
    for kept, (number, status) in enumerate(ENDS):
        command = zygote.start(*arguments, cwd=folder, env={"NODE": "own"})
        instance = f"lrfinder-ray-{command.pid}-"
        wait_for(lambda wanted=kept + 1: log.exists() and log.read_text().count("\n") >= wanted)
        (folder / "held").touch()  # until it gets the signal
        wait_for(lambda its=instance: any("ray::" in title for title in processes_of(its)))  # one may just be starting
        command.send_signal(number)
        assert command.wait() == status, command.stderr
        (folder / "held").unlink()
        if status == 130:
            assert processes_of(instance) == []
            assert not list(Path(tempfile.gettempdir()).glob("lrfinder-ray-*"))  # nor what the killed one left
            assert "Traceback" not in command.stderr
        # Ray's own agents take some seconds more to see that a killed instance is gone.
        wait_for(lambda name=instance: not [title for title in processes_of(name) if "Agent" not in title])
    kept = log.read_text()
    (folder / "slow").unlink()
    done = zygote.start(*arguments, cwd=folder, env={"RAY_ADDRESS": cluster.address})
    assert done.wait(120) in {0, 1, 5}, done.stderr
    assert log.read_text().startswith(kept)
    said = json.loads(done.stdout)
    assert sorted((t["plan"]["steps"], t["plan"]["lr"], t["loss"], t["updates"]) for t in said["trials"]) == expected
    assert "Warning" not in done.stderr
