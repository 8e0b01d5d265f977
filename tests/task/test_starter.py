"""The starter that `lrfinder init` writes: it runs as it is, with nothing but torch, and learns."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lrfinder.cli.init import init
from lrfinder.errors import UsageError
from lrfinder.task.build import build_trial
from lrfinder.task.load import load_problem
from lrfinder.task.names import NAMES
from lrfinder.task.starter import starter_text


@pytest.fixture
def starter(tmp_path: Path) -> Path:
    path = tmp_path / "model.py"
    path.write_text(starter_text(), encoding="utf-8")
    return path


def test_it_learns(starter: Path) -> None:
    problem = load_problem(str(starter), batch_size=32)
    torch.manual_seed(0)
    trial = build_trial(problem, place=lambda model: model)
    losses = []
    for _, batch in zip(range(100), trial.loader, strict=False):
        loss = trial.loss(trial.model, batch)
        trial.optimizer.zero_grad()
        for group in trial.optimizer.param_groups:
            group["lr"] = 1e-2
        loss.backward()
        trial.optimizer.step()
        losses.append(loss.item())
    assert sum(losses[:5]) / 5 > 0.6  # two classes: log(2) = 0.69
    assert sum(losses[-10:]) / 10 < 0.3
    assert problem.val_loader is not None


def test_it_shows_every_name(starter: Path) -> None:
    lines = starter.read_text(encoding="utf-8").splitlines()
    for name in NAMES:
        assert any(line.startswith((f"def {name}(", f"{name} =", f"# def {name}(")) for line in lines), name


def test_the_commented_step_is_right_too(starter: Path) -> None:
    text = starter.read_text(encoding="utf-8")
    commented = text[text.index("# def training_step") :].split("\n\n")[0]
    starter.write_text(text.replace(commented, commented.replace("# ", "")), encoding="utf-8")
    trial = build_trial(load_problem(str(starter)), place=lambda model: model)
    assert trial.loss(trial.model, next(iter(trial.loader))).item() > 0
    assert trial.loss_note() == "training_step"


def test_it_takes_no_name_of_what_it_imports(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"torch\.py: what it holds imports torch, and Python would take this file"):
        init(tmp_path / "torch.py")
    assert not list(tmp_path.iterdir())


def test_it_imports_torch_and_the_standard_library_only(starter: Path) -> None:
    script = (
        "import sys, runpy; before = set(sys.modules); import torch; from torch.utils import data; "
        "known = set(sys.modules); runpy.run_path(sys.argv[1]); print(sorted(set(sys.modules) - known - {'__main__'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(starter)], capture_output=True, text=True, check=False, cwd=starter.parent
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
