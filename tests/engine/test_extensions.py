"""Each of the two extensions can be taken out of the engine by deleting its folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lrfinder

SCRIPT = """
import torch, lrfinder
from torch import nn
from lrfinder.engine.observer import Observer
from lrfinder.engine.run_queue import RunQueue
from lrfinder.records import RunPlan
from lrfinder.task.problem import Problem
assert lrfinder.__file__.startswith({root!r})
batches = [(torch.randn(8, 3), torch.randn(8, 1)) for _ in range(5)]
given = dict(train_loader=batches, loss_fn=nn.functional.mse_loss)
options = dict(given, optimizer="sgd", mode="continuous", steps=30, max_lr=0.01)
print(lrfinder.sweep(lambda: nn.Linear(3, 1), **options).status)
what = Problem(name="x", model=lambda: nn.Linear(3, 1), optimizer=lambda p, lr: torch.optim.SGD(p, lr=lr), **given)
with RunQueue(what, seed=0, device=torch.device("cpu"), observer=Observer()) as runs:
    print(*[run.stop for run in runs.run_all([RunPlan(lr=lr, steps=10) for lr in (1e-4, 1e-3, 1e-2, 2e-2, 3e-2)])])
try:
    lrfinder.sweep(lambda: nn.Linear(3, 1), graph="auto", **options)
except lrfinder.UsageError as error:
    print(error)
"""


@pytest.mark.parametrize("room", ["cuda_graphs", "vectorized"])
def test_the_engine_works_without_the_folder(tmp_path: Path, room: str) -> None:
    shutil.copytree(Path(lrfinder.__file__).parent, tmp_path / "lrfinder", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.rmtree(tmp_path / "lrfinder" / "engine" / room)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(root=str(tmp_path)))
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    refused = ["CUDA graphs are not part of this installation"] if room == "cuda_graphs" else []
    assert done.stdout.splitlines() == ["completed", " ".join(["completed"] * 5), *refused]
