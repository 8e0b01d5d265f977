"""Python looks for garbage while the user's code runs, and not while the command line loads what it needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from helpers.processes import environment

COUNTING = """
import gc, sys
began = []
gc.callbacks.append(lambda phase, info: began.append(gc.get_freeze_count()) if phase == "start" else None)
sys.argv = ["lrfinder", *sys.argv[1:]]
from lrfinder.cli import main
from lrfinder.engine.runtime import gc_control
gc.collect()  # what has been made so far sets nothing off at once
began.clear()
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
print("COLLECTIONS", began.count(0), len(began) - began.count(0))
"""

MODEL = """
import gc
import torch
from torch import nn

assert gc.isenabled()
assert gc.get_freeze_count() > 100_000  # torch and the rest

class Held:
    def __init__(self, name):
        self.itself, self.name = self, name
    def __del__(self):
        open(self.name, "w").close()

Held("dropped")
gc.collect()
kept = open("kept", "w")  # until the process ends
kept.write("written out")

def model():
    return nn.Linear(4, 2)

def train_loader():
    for _ in range(200):
        yield torch.randn(8, 4), torch.randint(0, 2, (8,))

loss_fn = nn.CrossEntropyLoss()
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.py"
    path.write_text(MODEL)
    return path


def collections(*args: object, cwd: Path) -> tuple[int, int]:
    """Run `lrfinder ARGS`; return how often garbage was looked for before what it loads was set apart, and after."""
    done = subprocess.run(
        [sys.executable, "-c", COUNTING, *map(str, args)],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    before, after = done.stdout.rpartition("COLLECTIONS")[2].split()
    return int(before), int(after)


def test_no_garbage_is_looked_for_while_torch_is_loaded(model: Path, tmp_path: Path) -> None:
    before, after = collections("sweep", model, "--steps", "40", "--out", "run", "--quiet", cwd=tmp_path)
    assert before == 0
    assert after > 0  # the user's own garbage is found
    assert (tmp_path / "dropped").exists()
    assert collections("recommend", "run", "--steps", "100", cwd=tmp_path) == (0, 0)


def test_what_the_user_keeps_is_ended_with_the_process(model: Path, fresh_cli, tmp_path: Path) -> None:
    assert fresh_cli("sweep", model, "--steps", "40", "--out", "run", "--quiet").returncode == 0
    assert (tmp_path / "kept").read_text() == "written out"
