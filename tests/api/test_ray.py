"""Trials on Ray: a real cluster of several nodes on this machine, and an instance that a command starts itself."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import psutil
import pytest

import lrfinder
import lrfinder.errors
from helpers.models import GOOD_WITH_VAL
from lrfinder.advice.sweep.exploration import next_run
from lrfinder.api.sweeping import sweep_parts
from lrfinder.errors import OwnWarning, UsageError

ray = pytest.importorskip("ray", reason="Ray isn't installed: pip install 'lrfinder[ray]'")

SWEEP = {"steps": 40, "repeats": 4, "run_steps": 15, "device": "cpu"}
VERIFY = {"steps": 120, "budget": 360}
ENDS = [(signal.SIGKILL, -9)] if os.environ.get("LRFINDER_EVERY_FAULT") else []
ENDS += [(signal.SIGINT, 130)]
# Each flag is a file beside the model file; NODE is in the environment of each node of the cluster.
FLAGS = """
import os, signal, pathlib
HERE, NODE = pathlib.Path(__file__).parent, os.environ.get("NODE", "")
def flag(name):
    return NODE and (HERE / name).exists()
if flag("broken") and NODE == "a":
    raise OSError(28, "no space on the disk of a")
if flag("noting"):
    (HERE / f"on-{NODE}").touch()
class Odd(Exception):
    pass
_step = training_step
def training_step(net, batch):
    if flag("slow"):
        time.sleep(0.01)
    while flag("held"):
        time.sleep(0.05)
    if flag("killed"):
        (HERE / "killed").unlink(missing_ok=True)
        os.kill(os.getpid(), signal.SIGKILL)
    if flag("bug"):
        raise Odd("mine")
    return _step(net, batch)
"""
SEEN = """
import json, helper
there = sorted(str(path.relative_to(HERE.parent)) for path in HERE.parent.rglob("[!_]*"))
(pathlib.Path(WHERE) / f"on-{NODE}.json").write_text(json.dumps([__file__, there, helper.CHANGED]))
"""


@pytest.fixture(scope="module")
def cluster():
    """A cluster of two nodes with a core each, and a head without any."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("RAY_worker_niceness", "0")  # else they wait for whatever else is tested
        warnings.simplefilter("ignore")  # Ray leaves files open
        started = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        for node in ("a", "b"):
            started.add_node(num_cpus=1, env_vars={"NODE": node})
        try:
            ray.init(address=started.address, log_to_driver=False, logging_level="error")
            yield started
        finally:
            ray.shutdown()
            started.shutdown()


@pytest.fixture(scope="module")
def here(tmp_path_factory, one_thread):
    """A folder with what this process makes: a sweep and a verification of it."""
    folder = tmp_path_factory.mktemp("here")
    (folder / "model.py").write_text(GOOD_WITH_VAL + FLAGS)
    lrfinder.sweep(folder / "model.py", out=folder / "run", **SWEEP)
    (folder / "swept").mkdir()
    for file in ("run.json", "curve.csv", "runs.jsonl"):
        shutil.copy(folder / "run" / file, folder / "swept")
    return folder


@pytest.fixture
def folder(here, tmp_path):
    """The sweep of `here` at a place of its own, without trials."""
    shutil.copytree(here / "swept", tmp_path / "run")
    shutil.copy(here / "model.py", tmp_path)
    shown = (tmp_path / "run" / "run.json").read_text().replace(str(here), str(tmp_path))
    (tmp_path / "run" / "run.json").write_text(shown)
    return tmp_path


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


@pytest.fixture
def repository(folder):
    """The same model file in a repository, with a module that has changed since and a file that isn't tracked."""
    (folder / "exp").mkdir()
    (folder / "exp" / "model.py").write_text((folder / "model.py").read_text() + f"\nWHERE = {str(folder)!r}\n{SEEN}")
    (folder / "exp" / "helper.py").write_text("CHANGED = ''\n")
    for command in (["init", "-q"], ["add", "exp"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    (folder / "exp" / "helper.py").write_text("CHANGED = 'since'\n")
    (folder / "exp" / "private.txt").write_text("a")
    return folder


def test_uploaded_files_are_all_that_a_trial_has(cluster, repository, here, tmp_path):
    """The command sees the repository by a mount of its own: on the nodes that folder is empty."""
    unshare = ["unshare", "--map-root-user", "--mount"]
    if shutil.which("unshare") is None or subprocess.run([*unshare, "true"], check=False).returncode:
        pytest.skip("this system lets no process have mounts of its own")
    (tmp_path / "mount").mkdir()
    script = f"mount --bind {repository} {tmp_path}/mount; cd {tmp_path}/mount/exp; exec {sys.executable} -m lrfinder"
    options = ["sweep", "model.py", "--out", str(tmp_path / "new"), "--on", "ray", "--upload"]
    options += [part for name, value in SWEEP.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    environment = {**os.environ, "RAY_ADDRESS": cluster.address}
    command = [*unshare, "sh", "-ec", " ".join([script, *options])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in {0, 5}, done.stderr
    assert "uploading 2 files, " in done.stderr
    for file in ("curve.csv", "runs.jsonl"):
        assert (tmp_path / "new" / file).read_bytes() == (here / "run" / file).read_bytes(), file
    seen = [json.loads(file.read_text()) for file in tmp_path.glob("on-*.json")]
    assert seen
    for place, files, changed in seen:
        assert not Path(place).is_relative_to(tmp_path)
        assert files == ["exp", "exp/helper.py", "exp/model.py"]
        assert changed == "since"


def test_what_was_not_uploaded_is_named(cluster, repository, zygote, monkeypatch):
    with (repository / "exp" / "model.py").open("a") as file:
        file.write("\nopen('private.txt')\n")
    arguments = ("sweep", "model.py", "--on", "ray", "--upload", "--quiet")
    done = zygote.start(*arguments, cwd=repository / "exp", env={"RAY_ADDRESS": cluster.address})
    assert done.wait(120) == 3, done.stderr
    assert "No such file or directory: 'private.txt'" in done.stderr
    assert f"only the files that git tracks in {repository}: they were uploaded" in done.stderr
    monkeypatch.chdir(repository)
    with pytest.raises(UsageError, match="this process has joined one already"):
        lrfinder.sweep("exp/model.py", on="ray", upload=True)


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
        assert any("ray::" in title for title in processes_of(instance))
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
