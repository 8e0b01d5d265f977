"""What a run folder may have started: the script that was swept, and nothing of a stranger's."""

from __future__ import annotations

import json
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.zygote import Zygote

DATA = Path(__file__).parents[1] / "data"
ENV = {"OMP_NUM_THREADS": "1"}
STRANGE = {
    "a module that runs another": ({"program": "runpy", "module": True, "arguments": ["run.evil"]}, "standard library"),
    "its file": ({"program": runpy.__file__, "arguments": ["run.evil"]}, "standard library"),
    "a part of a package of Python's": ({"program": "unittest.main", "module": True}, "standard library"),
    "a file as an argument": ({"arguments": ["--config", "run/evil.py"]}, "a file inside the folder, run/evil.py"),
    "a file behind =": ({"arguments": ["--config=run/../run/evil.py"]}, "a file inside the folder, --config="),
    "a module as an argument": ({"arguments": ["run.evil"]}, "a file inside the folder, run.evil"),
    "the script itself": ({"program": "run/evil.py"}, "names a script inside the folder, run/evil.py"),
}


@pytest.mark.parametrize("case", STRANGE)
def test_a_strangers_folder_runs_no_code_of_its_own(zygote: Zygote, tmp_path: Path, case: str) -> None:
    named, message = STRANGE[case]
    run = tmp_path / "run"
    shutil.copytree(DATA / "run-v12-script", run)
    (tmp_path / "translator.py").write_text("print('RAN')\n")
    (run / "evil.py").write_text("print('RAN')\n")
    document = json.loads((run / "run.json").read_text())
    document["source"]["script"].update(named)
    (run / "run.json").write_text(json.dumps(document))
    status, done = zygote.run("verify", "run", "--steps", 100, cwd=tmp_path, env=ENV, timeout=120)
    assert status == 2, done.stderr
    assert message in done.stderr
    if case != "the script itself":
        assert "lrfinder verify run --script train.py -- ARGS" in done.stderr
    assert "RAN" not in done.stdout + done.stderr
    assert not (run / "script.log").exists()


@pytest.mark.parametrize("target", ["run", "schedule.yaml"])
def test_the_number_of_processes_is_the_scripts_own_whether_the_run_or_its_config_is_named(
    zygote: Zygote, tmp_path: Path, target: str
) -> None:
    shutil.copytree(DATA / "run-v12-script", tmp_path / "run")
    (tmp_path / "schedule.yaml").write_text(
        "version: 1\noptimizer: {name: SGD, lr: 0.1}\nschedule: {name: constant, steps: 100}\nevidence: {run: run}\n"
    )
    status, done = zygote.run("verify", target, "--nproc", 2, cwd=tmp_path, env=ENV)
    assert status == 2
    assert f"{target}: its script starts as many processes as in the sweep" in done.stderr


def test_a_launcher_that_the_user_names_is_started(
    zygote: Zygote, tmp_path: Path, program: Callable[[str], str]
) -> None:
    program("classifier.py")
    launched = ("--module", "runpy", "--", "classifier", "--epochs", 4)
    status, done = zygote.run(
        *("find", "--out", "run", "--steps", 160, "--budget", 800, *launched), cwd=tmp_path, env=ENV, timeout=240
    )
    assert status in {0, 5}, done.stderr
    assert "standard library" not in done.stderr
    assert (tmp_path / "run" / "verification.json").exists()
