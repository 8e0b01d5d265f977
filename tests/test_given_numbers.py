"""Numbers that a caller has from NumPy, torch or a division: taken as what they are, or refused in words."""

from __future__ import annotations

import dataclasses
import math
from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import lrfinder
from lrfinder.records import SweepSettings, UpdateOptions

WHOLE = [np.int64(40), np.uint8(40), np.array(40), np.float64(40), torch.tensor(40), 4e1, 80 / 2, Fraction(40)]
REAL = [np.float32(0.25), np.float64(0.25), np.array(0.25), torch.tensor(0.25), Fraction(1, 4), Decimal("0.25")]
COUNTS = [(SweepSettings, name) for name in ("steps", "run_steps", "repeats", "cache_batches", "seed")]
RATES = [(SweepSettings, name) for name in ("min_lr", "max_lr", "max_seconds")]


@pytest.mark.parametrize(("record", "field"), [*COUNTS, (UpdateOptions, "accumulate")])
def test_whole_numbers(record: Any, field: str) -> None:
    for value in WHOLE:
        found = getattr(record(**{field: value}), field)
        assert found == 40
        assert type(found) is int
    for value in (40.5, np.float32(0.5), math.nan, math.inf, "40", True, None, [40], np.array([40, 40])):
        if value is None and field == "cache_batches":
            continue
        with pytest.raises(ValueError, match=f"^{field} must be a whole number, got "):
            record(**{field: value})


@pytest.mark.parametrize(("record", "field"), [*RATES, (UpdateOptions, "clip_norm"), (UpdateOptions, "clip_value")])
def test_other_numbers(record: Any, field: str) -> None:
    for value in (*REAL, 1, np.int32(1)):
        found = getattr(record(**{field: value, **({"max_lr": 9} if field == "min_lr" else {})}), field)
        assert found == float(value)
        assert type(found) is float
    for value in ("0.25", "many", True, [0.25], np.array([1.0, 2.0]), torch.ones(2), 1j):
        with pytest.raises(ValueError, match=f"^{field} must be a number, got "):
            record(**{field: value})


def test_what_may_be_missing_stays_so() -> None:
    for record in (SweepSettings(), UpdateOptions()):
        for field in dataclasses.fields(record):
            assert getattr(record, field.name) == field.default


def swept(folder: Path, **numbers: Any) -> lrfinder.Sweep:
    batches = [(torch.linspace(-1, 1, 8)[:, None], torch.ones(8, 1))] * 8
    return lrfinder.sweep(
        model=lambda: nn.Linear(1, 1),
        train_loader=lambda batch_size=8: batches,
        loss_fn=nn.MSELoss(),
        optimizer="SGD",
        mode="continuous",
        out=folder,
        **numbers,
    )


def test_a_run_folder_is_the_same_whatever_the_numbers_were(tmp_path: Path) -> None:
    plain = {"steps": 5, "repeats": 1, "seed": 3, "accumulate": 2, "batch_size": 8}
    rates = {"min_lr": 0.25, "max_lr": 0.5, "clip_norm": 1.0, "loader_timeout": 60.0, "momentum": 0.5}
    swept(tmp_path / "plain", **plain, **rates)
    swept(
        tmp_path / "numpy",
        **{name: np.int64(value) for name, value in plain.items()},
        **{name: np.float32(value) for name, value in rates.items()},
    )
    files = {name: (tmp_path / "plain" / name).read_text() for name in ("run.json", "curve.csv")}
    for name, text in files.items():
        assert (tmp_path / "numpy" / name).read_text() == text
        assert "np." not in text
    assert lrfinder.recommend(str(tmp_path / "numpy"), steps=10).status in {"refused", "uncertain", "confident"}


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"steps": "100"}, "steps must be a whole number, got '100'"),
        ({"min_lr": "1e-5"}, "min_lr must be a number, got '1e-5'"),
        ({"accumulate": 2.5}, "accumulate must be a whole number, got 2.5"),
        ({"clip_norm": "1"}, "clip_norm must be a number, got '1'"),
        ({"batch_size": 4.5}, "batch_size must be a whole number, got 4.5"),
        ({"loader_timeout": "long"}, "loader_timeout must be a number, got 'long'"),
        ({"weight_decay": "none"}, "weight_decay must be a number, got 'none'"),
    ],
)
def test_what_is_no_number_is_refused_before_anything_is_written(tmp_path: Path, numbers, message) -> None:
    with pytest.raises(lrfinder.UsageError) as raised:
        swept(tmp_path / "out", **numbers)
    assert str(raised.value) == message
    assert not (tmp_path / "out").exists()


def test_what_recommend_and_verify_are_asked_for(tmp_path: Path) -> None:
    swept(tmp_path / "out", steps=20, repeats=2)
    folder = str(tmp_path / "out")
    for given, plain in (
        ({"steps": np.int64(100), "warmup": 4e0}, {"steps": 100, "warmup": 4}),
        ({"epochs": np.float32(2), "against": [np.float32(0.5)]}, {"epochs": 2.0, "against": [0.5]}),
    ):
        assert lrfinder.recommend(folder, **given) == lrfinder.recommend(folder, **plain)
    for call in (partial(lrfinder.recommend, folder), partial(lrfinder.verify, folder)):
        with pytest.raises(lrfinder.UsageError, match=r"^steps must be a whole number, got 0\.5$"):
            call(steps=0.5)
        with pytest.raises(lrfinder.UsageError, match=r"^against must be a number, got 'high'$"):
            call(steps=100, against=["high"])
    with pytest.raises(lrfinder.UsageError, match=r"^epochs must be a number, got '3'$"):
        lrfinder.find("model.py", epochs="3")
