"""A sweep of a run that goes on from a checkpoint, held equal to torch's own going on."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from torch import nn

import lrfinder
from engine import reference

DRAW = torch.Generator().manual_seed(0)
BATCHES = [(torch.randn(16, 4, generator=DRAW), torch.randint(3, (16,), generator=DRAW)) for _ in range(5)]
loss = nn.functional.cross_entropy


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


def adam(params, lr=1e-3):
    return torch.optim.Adam(params, lr=lr)


@pytest.fixture
def checkpoint(tmp_path: Path) -> tuple[Path, nn.Module, dict]:
    torch.manual_seed(5)
    model = net()
    optimizer = adam(model.parameters(), 0.004)
    for batch in BATCHES:
        reference.update(model, optimizer, loss, [batch], 0.004)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "ck.pt")
    return tmp_path / "ck.pt", model, optimizer.state_dict()


@pytest.mark.parametrize("live", [False, True])
def test_every_repeat_begins_with_the_weights_and_the_moments_of_the_checkpoint(checkpoint, live: bool) -> None:
    place, model, state = checkpoint

    def continued(params):
        optimizer = adam(params)
        optimizer.load_state_dict(state)
        return optimizer

    mine = net()
    optimizer = adam(mine.parameters()) if live else adam
    before = [weight.detach().clone() for weight in mine.parameters()]
    swept = lrfinder.sweep(
        mine if live else net,
        optimizer=optimizer,
        train_loader=BATCHES,
        loss_fn=loss,
        start_from=place,
        steps=30,
        max_lr=0.1,
        mode="continuous",
    )
    expected = reference.sweep(model, continued, loss, BATCHES, swept.lrs[0])
    for losses in swept.losses:
        assert losses == pytest.approx(expected, rel=1e-5)
    start = swept.setup.start
    assert (start.step, start.lr, start.optimizer) == (5, 0.004, True)
    assert start.sha256 == hashlib.sha256(place.read_bytes()).hexdigest()
    assert all(map(torch.equal, mine.parameters(), before))
    if live:
        assert not optimizer.state
