"""A small model file, its sweep, and what every run folder must keep whatever happens."""

from __future__ import annotations

import re
from pathlib import Path

from lrfinder.advice import Request, advise, gather_evidence
from lrfinder.errors import RunError
from lrfinder.records import SweepResult
from lrfinder.store import load_run

# For `pandas.read_csv(converters=EXACT)` of a curve.csv: until pandas 3 its own floats are off by the last bit.
EXACT = {"lr": float, "loss": float}
MODEL = """
import os, time
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

X = torch.randn(64, 8)
Y = (X @ torch.randn(8, 3)).argmax(1)

def model():
    return nn.Linear(8, 3)

loss_fn = nn.CrossEntropyLoss()

def train_loader():
    return DataLoader(TensorDataset(X, Y), batch_size=16, shuffle=True)

def optimizer(params, lr):
    return torch.optim.SGD(params, lr=lr, momentum=0.9)
"""
SWEEP = ("sweep", "model.py", "--quiet", "--steps", "6", "--repeats", "2", "--run-steps", "10", "--max-lr", "1")
KNOWN = {"run.json", "curve.csv", "short-curve.csv", "runs.jsonl", "curve.png", "cost.json"}
TEMPORARY = re.compile(r"\.(run\.json|curve\.png|cost\.json)\.[0-9a-f]{8}")


def contents(run: Path) -> dict[str, bytes]:
    """Return what a resumed run must share with an uninterrupted one."""
    return {
        name: (run / name).read_bytes() for name in sorted(KNOWN - {"curve.png", "cost.json"}) if (run / name).exists()
    }


def intact(run: Path, *, killed: bool = False, advised: bool = True) -> SweepResult | None:
    """Return what can be read of a run folder, None where nothing was measured; nothing else is in it or beside it.

    One that was killed between two system calls may hold a temporary file, which the next writer removes.
    """
    assert {path.name for path in run.parent.iterdir()} <= {"model.py", run.name, "calls", "__pycache__"}
    if not run.exists():
        return None
    others = {path.name for path in run.iterdir()} - KNOWN
    assert not others or (killed and all(TEMPORARY.fullmatch(name) for name in others)), others
    try:
        result = load_run(run)
    except RunError as error:
        assert "not a run folder" in str(error), error  # not even run.json was written  # noqa: PT017
        return None
    if advised:
        advise(gather_evidence(result), Request())
    return result
