"""A real cluster of several nodes on this machine, one for all tests of this folder, and a sweep to compare with."""

from __future__ import annotations

import shutil
import warnings

import pytest

import lrfinder
from helpers.models import GOOD_WITH_VAL
from helpers.ray_sweep import SWEEP

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


@pytest.fixture(scope="package")
def cluster():
    """A cluster of two nodes with a core each, and a head without any."""
    import ray
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


@pytest.fixture(scope="package")
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
