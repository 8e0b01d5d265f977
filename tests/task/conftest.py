"""Real model files in a temporary folder."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from lrfinder.task.build import build_trial
from lrfinder.task.load import load_problem
from lrfinder.task.problem import BuiltProblem

HEAD = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
"""


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Model files stay on `sys.path` and in `sys.modules`: take them off again after the test."""
    path, modules, threads = list(sys.path), set(sys.modules), torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if "pytest-" in file:
            del sys.modules[name]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Write a model file, torch and its usual names imported, and return its path."""

    def write(text: str, name: str = "model.py", *, head: str = HEAD) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(head + textwrap.dedent(text))
        return str(path)

    return write


@pytest.fixture
def build(write: Callable[..., str]) -> Callable[..., BuiltProblem]:
    """Write a model file, load it and build a trial from it, with weights seeded."""

    def build(text: str, **options: object) -> BuiltProblem:
        problem = load_problem(write(text), **options)  # type: ignore[arg-type]
        torch.manual_seed(0)
        return build_trial(problem, place=lambda model: model)

    return build


@pytest.fixture
def first_loss() -> Callable[[BuiltProblem], torch.Tensor]:
    def first_loss(trial: BuiltProblem) -> torch.Tensor:
        return trial.loss(trial.model, next(iter(trial.loader)))

    return first_loss
