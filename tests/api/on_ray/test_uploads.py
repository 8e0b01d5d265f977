"""Trials on nodes that have nothing but what was uploaded."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lrfinder
from helpers.ray_sweep import SWEEP
from lrfinder.errors import UsageError

SEEN = """
import json, helper
there = sorted(str(path.relative_to(HERE.parent)) for path in HERE.parent.rglob("[!_]*"))
(pathlib.Path(WHERE) / f"on-{NODE}.json").write_text(json.dumps([__file__, there, helper.CHANGED]))
"""


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
