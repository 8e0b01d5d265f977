"""The real command line, as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.processes import environment
from helpers.zygote import Zygote

Run = Callable[..., "subprocess.CompletedProcess[str]"]

GOOD = """
import torch
from torch import nn

def model():
    return nn.Linear(8, 3)

class Batches:
    def __len__(self):
        return 20
    def __iter__(self):
        teacher = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
        for _ in range(20):
            x = torch.randn(32, 8)
            yield x, (x @ teacher).argmax(1)

def train_loader():
    return Batches()

loss_fn = nn.CrossEntropyLoss()

def optimizer(params, lr):
    return torch.optim.SGD(params, lr=lr, momentum=0.9)
"""


@pytest.fixture
def cli(tmp_path: Path, zygote: Zygote) -> Run:
    """Run `lrfinder ARGS` in the test's own folder, in a process forked from one that has imported everything."""

    def run(*args: object, **extra: str) -> subprocess.CompletedProcess[str]:
        status, child = zygote.run(*args, cwd=tmp_path, env=extra, timeout=120)
        return subprocess.CompletedProcess(args, status, child.stdout, child.stderr)

    return run


@pytest.fixture
def fresh_cli(tmp_path: Path) -> Run:
    """Run `python -m lrfinder ARGS` in the test's own folder, in a Python that has imported nothing."""

    def run(*args: object, **extra: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "lrfinder", *map(str, args)],
            cwd=tmp_path,
            env={**environment(), **extra},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    """A model file that learns within a few updates."""
    path = tmp_path / "model.py"
    path.write_text(GOOD)
    return path
