"""What the best constant prediction costs, and that a sweep which learns no more is refused."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lrfinder
from lrfinder.task.first_loss import BINARY_CROSS_ENTROPY, CROSS_ENTROPY, SQUARED_ERROR, Targets, kind_of

DRAW = torch.Generator().manual_seed(0)


def constant_of(kind: str, *targets: torch.Tensor) -> float | None:
    seen = Targets()
    for target in targets:
        seen.see(kind, None, target, None)
    return seen.constant


def test_for_labels_it_is_the_entropy_of_their_frequencies() -> None:
    labels = torch.randint(0, 5, (300,), generator=DRAW) ** 2
    expected = scipy.stats.entropy(np.bincount(labels))
    assert constant_of(CROSS_ENTROPY, *labels.split(64)) == pytest.approx(expected)
    ignored = torch.full((4, 7), -100)  # as in language models
    assert constant_of(CROSS_ENTROPY, labels.reshape(10, 30), ignored) == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(300,), (300, 3), (300, 2, 4)])
def test_for_numbers_it_is_their_variance(shape: tuple[int, ...]) -> None:
    targets = 1e4 + torch.randn(*shape, generator=DRAW)
    assert constant_of(SQUARED_ERROR, *targets.split(64)) == pytest.approx(
        np.var(targets.numpy(), axis=0).mean(), rel=1e-3
    )
    assert constant_of(SQUARED_ERROR, torch.full(shape, 1e4 / 3)) == 0.0


@pytest.mark.parametrize("shape", [(300,), (300, 1), (300, 3)])
def test_for_shares_it_is_the_entropy_of_their_mean(shape: tuple[int, ...]) -> None:
    loss = nn.BCEWithLogitsLoss()
    assert kind_of(loss) == BINARY_CROSS_ENTROPY
    for targets in (torch.randint(0, 2, shape, generator=DRAW).float(), torch.rand(*shape, generator=DRAW)):
        best = torch.logit(targets.double().mean(0)).expand(shape)  # of all constant predictions
        expected = float(loss(best, targets.double()))
        assert constant_of(BINARY_CROSS_ENTROPY, *targets.split(64)) == pytest.approx(expected, rel=1e-6)
    assert constant_of(BINARY_CROSS_ENTROPY, torch.ones(shape)) == 0.0


@pytest.mark.parametrize(
    "loss",
    [
        nn.BCEWithLogitsLoss(pos_weight=torch.ones(1)),
        nn.BCELoss(weight=torch.ones(1)),
        nn.BCELoss(reduction="sum"),
        nn.CrossEntropyLoss(label_smoothing=0.1),
        nn.CrossEntropyLoss(weight=torch.ones(3)),
        nn.L1Loss(),
    ],
)
def test_other_settings_are_another_loss(loss: nn.Module) -> None:
    assert kind_of(loss) == ""


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        (CROSS_ENTROPY, torch.zeros(63, dtype=torch.long)),  # too few
        (CROSS_ENTROPY, torch.rand(100, 10)),  # probabilities
        (SQUARED_ERROR, torch.tensor(1.0)),
        (BINARY_CROSS_ENTROPY, torch.full((100,), 1.5)),
        (SQUARED_ERROR, torch.full((100,), float("nan"))),
        ("", torch.zeros(100)),
        (SQUARED_ERROR, "no tensor"),
    ],
)
def test_else_it_is_not_told(kind: str, target: object) -> None:
    assert constant_of(kind, target) is None


def test_it_is_not_told_of_two_kinds() -> None:
    seen = Targets()
    seen.see(CROSS_ENTROPY, None, torch.zeros(100, dtype=torch.long), None)
    seen.see(SQUARED_ERROR, None, torch.zeros(100), None)
    assert seen.constant is None


@pytest.mark.parametrize("what", ["noise", "all the same", "rare"])
def test_a_sweep_over_targets_that_tell_nothing_is_refused(what: str) -> None:
    inputs = torch.randn(600, 8, generator=DRAW)
    labels = {
        "noise": torch.randint(2, (600,), generator=DRAW),
        "all the same": torch.zeros(600, dtype=torch.long),
        "rare": (inputs[:, 0] > 1.3).long(),  # a tenth: that can be learned
    }[what]
    result = lrfinder.sweep(
        model=lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2)),
        train_loader=lambda: DataLoader(TensorDataset(inputs[:400], labels[:400]), batch_size=20, shuffle=True),
        val_loader=lambda: DataLoader(TensorDataset(inputs[400:], labels[400:]), batch_size=200),
        loss_fn=nn.CrossEntropyLoss(),
        optimizer=torch.optim.AdamW,
        device="cpu",
    )
    advice = lrfinder.recommend(result, steps=200)
    assert (advice.lr is None) is (what != "rare")
    assert {"noise": "nothing was learned", "all the same": "are the same", "rare": ""}[what] in advice.why
    if what != "rare":
        assert all(run.constant == pytest.approx(scipy.stats.entropy(np.bincount(labels[400:]))) for run in result.runs)
