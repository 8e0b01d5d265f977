"""Apple's MPS has no float64: nothing of a sweep may ask for it there. A stand-in refuses it (`helpers/apple.py`)."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

import lrfinder
from helpers.apple import MPS, REFUSED, apple
from lrfinder.task.first_loss import BINARY_CROSS_ENTROPY, CROSS_ENTROPY, SQUARED_ERROR, FirstLoss, Targets

INPUTS = torch.randn(160, 4, generator=torch.Generator().manual_seed(0))
LABELS = (INPUTS[:, 0] > 0).long()


def batches(targets: torch.Tensor) -> list[Any]:
    return list(zip(INPUTS.split(8), targets.split(8), strict=True))


def swept(**changes: Any) -> Any:
    given = {
        "model": lambda: nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2)),
        "train_loader": lambda: batches(LABELS),
        "loss_fn": nn.CrossEntropyLoss(),
        "optimizer": "AdamW",
        "steps": 8,
        "repeats": 1,
        "mode": "continuous",
    }
    return lrfinder.sweep(**(given | changes))


def two_losses(model: nn.Module, batch: Any) -> dict[str, torch.Tensor]:
    output = model(batch[0])
    return {"first": nn.functional.cross_entropy(output, batch[1]), "second": output.square().mean()}


WAYS: dict[str, dict[str, Any]] = {
    "by default": {"model": lambda: nn.Linear(4, 2), "optimizer": "SGD", "mode": "auto", "run_steps": 10},
    "val": {"metric": "val", "val_loader": lambda: batches(LABELS)},
    "probe": {"metric": "probe"},
    "accumulated and clipped": {"accumulate": 2, "clip_norm": 1.0},
    "cached": {"cache_batches": 5},
    "two optimizers": {
        "loss_fn": None,
        "training_step": two_losses,
        "optimizer": None,
        "optimizers": lambda model, lr: {
            "first": torch.optim.SGD(model[0].parameters(), lr=lr),
            "second": torch.optim.SGD(model[2].parameters(), lr=0.1),
        },
    },
}


@pytest.mark.parametrize("way", WAYS)
def test_a_sweep_measures_what_it_does_on_a_cpu(monkeypatch, way) -> None:
    expected = swept(device="cpu", **WAYS[way])
    with apple(monkeypatch):
        found = swept(**WAYS[way])
    assert found.setup.device == "mps"
    assert found.status == expected.status
    assert [trace.losses for trace in found.traces] == [trace.losses for trace in expected.traces]
    assert [run.plan for run in found.runs] == [run.plan for run in expected.runs]
    assert [run.constant for run in found.runs] == [run.constant for run in expected.runs]
    for run, other in zip(found.runs, expected.runs, strict=True):
        assert run.loss == pytest.approx(other.loss, rel=1e-4)  # a CPU may train several at once


@pytest.mark.parametrize("kind", [CROSS_ENTROPY, SQUARED_ERROR, BINARY_CROSS_ENTROPY])
def test_what_a_constant_prediction_costs_is_known_there_too(monkeypatch, kind) -> None:
    targets = LABELS if kind == CROSS_ENTROPY else LABELS.float()
    output, loss = torch.randn(len(targets), 2), torch.zeros(())
    for make in (Targets, FirstLoss):
        found, expected = make(), make()
        expected.see(kind, output, targets, loss)
        with apple(monkeypatch):
            found.see(kind, output.clone().to(MPS), targets.clone().to(MPS), loss)
        assert found.constant == expected.constant
        assert found.constant is not None or (make is FirstLoss and kind == BINARY_CROSS_ENTROPY)


def test_the_stand_in_refuses_what_apple_refuses(monkeypatch) -> None:
    with apple(monkeypatch):
        there = INPUTS.clone().to(MPS)
        for make in (
            (there * 2).double,
            partial(there.sum, dtype=torch.float64),
            lambda: there.to("cpu").double().to(MPS),
            lambda: nn.Linear(4, 2).to(MPS)(there).double(),
            lambda: torch.zeros(2, dtype=torch.float64, device="mps"),
        ):
            with pytest.raises(TypeError, match=REFUSED[:30]):
                make()
        assert there.cpu().double().dtype is torch.float64
