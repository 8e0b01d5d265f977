"""The recipes in configs/cluster: run with stand-ins for srun, scontrol and lrfinder, and held to the exit statuses."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from lrfinder.cli.answers import exit_status
from lrfinder.errors import ConfigError, EnvironmentFailure, ModelFileError, RunError, UsageError

RECIPES = Path(__file__).parents[1] / "configs" / "cluster"
JOB = YAML(typ="safe").load((RECIPES / "kubernetes-job.yaml").read_text())["spec"]
CONTAINER = JOB["template"]["spec"]["containers"][0]
KILLED = 137  # 128 + SIGKILL, which no program chooses

# The contract, as scripts and clusters rely on it: nothing here may change.
STATUSES = {
    "done": 0,
    "not confirmed": 1,
    "usage": 2,
    "user code": 3,
    "environment": 4,
    "inconclusive": 5,
    "defect": 70,
    "interrupted": 130,
    "terminated": 143,
}


def test_the_statuses_are_those_that_the_recipes_know():
    assert {
        "done": exit_status.DONE,
        "not confirmed": exit_status.NOT_CONFIRMED,
        "usage": UsageError.exit_status,
        "user code": exit_status.USER_CODE_FAILED,
        "environment": EnvironmentFailure.exit_status,
        "inconclusive": exit_status.INCONCLUSIVE,
        "defect": exit_status.BUG,
        "interrupted": exit_status.INTERRUPTED,
        "terminated": exit_status.TERMINATED,
    } == STATUSES
    assert ConfigError.exit_status == RunError.exit_status == UsageError.exit_status
    assert ModelFileError.exit_status == exit_status.USER_CODE_FAILED


def test_kubernetes_tries_again_where_that_can_help():
    """As the documentation of pod failure policies asks: pods never restart in place, disruptions come first."""
    rules = JOB["podFailurePolicy"]["rules"]
    assert JOB["template"]["spec"]["restartPolicy"] == "Never"
    assert [rule["action"] for rule in rules] == ["Ignore", "FailJob", "Count"]
    assert rules[0]["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    final, again = (rule["onExitCodes"] for rule in rules[1:])
    for codes in (final, again):
        assert (codes["operator"], codes["containerName"]) == ("In", CONTAINER["name"])
        assert codes["values"] == sorted(set(codes["values"]))
    lasting = {"not confirmed", "usage", "user code", "inconclusive", "defect"}
    assert set(final["values"]) == {STATUSES[name] for name in lasting}
    assert set(final["values"]) | set(again["values"]) == {*STATUSES.values(), KILLED} - {0}
    assert CONTAINER["resources"]["limits"]["nvidia.com/gpu"] == int(value_of("GPUS"))
    claimed = {volume["name"] for volume in JOB["template"]["spec"]["volumes"]}
    assert {mount["name"] for mount in CONTAINER["volumeMounts"]} == claimed


def value_of(name: str) -> str:
    return next(each["value"] for each in CONTAINER["env"] if each["name"] == name)


def run(command: list[str], folder: Path, status: int, **variables: str) -> tuple[int, list[str]]:
    """Run `command` with stand-ins for the programs that it calls; return its status, and their command lines."""
    programs, log = folder / "programs", folder / "calls"
    programs.mkdir(exist_ok=True)
    for name, body in (("srun", 'exec "$@"'), ("scontrol", f'echo "scontrol $*" >> {log}')):
        (programs / name).write_text(f"#!/bin/sh\n{body}\n")
    (programs / "lrfinder").write_text(f'#!/bin/sh\necho "$*" >> {log}\nexit {status}\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    environment = {"PATH": f"{programs}:{os.environ['PATH']}", **variables}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert not done.stderr, done.stderr
    calls = log.read_text().splitlines()
    log.unlink()
    return done.returncode, calls


SLURM = {"SLURM_JOB_ID": "7", "SLURM_GPUS_ON_NODE": "2", "SLURM_CPUS_PER_TASK": "16"}


@pytest.mark.parametrize("status", [*STATUSES.values(), KILLED])
def test_slurm_requeues_a_job_that_another_try_can_help(tmp_path, status):
    command = ["bash", str(RECIPES / "slurm.sbatch"), "model.py"]
    swept = "sweep model.py --out lrfinder-runs/slurm-7 --nproc 2"
    again = ["scontrol requeue 7"] if status in {4, 143} else []
    assert run(command, tmp_path, status, **SLURM) == (status, [swept, *again])
    assert run(command, tmp_path, status, **SLURM, SLURM_RESTART_COUNT="2") == (status, [swept])


def test_both_carry_on_where_they_were(tmp_path):
    folder = tmp_path / "lrfinder-runs" / "slurm-7"
    folder.mkdir(parents=True)
    (folder / "curve.csv").touch()  # killed before the first update
    slurm = ["bash", str(RECIPES / "slurm.sbatch"), "model.py"]
    kubernetes = [*CONTAINER["command"], *CONTAINER["args"]]
    pod = {"RUN": str(folder), "GPUS": value_of("GPUS")}
    assert run(slurm, tmp_path, 0, **SLURM)[1] == ["sweep model.py --out lrfinder-runs/slurm-7 --nproc 2"]
    assert run(kubernetes, tmp_path, 0, **pod) == (0, [f"sweep model.py --out {folder} --nproc 2"])
    assert not (folder / "curve.csv").exists()
    (folder / "run.json").touch()
    assert run(slurm, tmp_path, 0, **SLURM)[1] == ["sweep --resume lrfinder-runs/slurm-7 --nproc 2"]
    assert run(kubernetes, tmp_path, 3, **pod) == (3, [f"sweep --resume {folder} --nproc 2"])


def test_slurm_asks_for_a_model_file(tmp_path):
    command = ["bash", str(RECIPES / "slurm.sbatch")]
    done = subprocess.run(command, cwd=tmp_path, env=SLURM, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "name the model file" in done.stderr
