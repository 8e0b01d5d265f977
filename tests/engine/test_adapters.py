"""Live models of PEFT: the weights of the base are never copied, and all else comes back bit for bit."""

from __future__ import annotations

import psutil
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

import lrfinder
from lrfinder.engine.restore.snapshot import preserved
from lrfinder.errors import ModelFileError
from lrfinder.task.problem import Problem

WIDE = 4096  # a base of two layers of 64 MiB


def adapted(width: int) -> nn.Module:
    torch.manual_seed(0)
    base = nn.Sequential(nn.Linear(width, width, bias=False), nn.ReLU(), nn.Linear(width, width, bias=False))
    return get_peft_model(base, LoraConfig(r=2, target_modules=["0", "2"]))


def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (output - target).square().mean()


def problem(net: nn.Module, **names) -> Problem:
    return Problem(name="net", model=net, train_loader=[], loss_fn=loss, **names)


def test_memory_for_the_base_is_not_taken() -> None:
    net = adapted(WIDE)
    size = sum(weight.nbytes for weight in net.parameters())
    process = psutil.Process()

    def taken() -> int:
        before = process.memory_info().rss
        with preserved(problem(net), torch.device("cpu")):
            return process.memory_info().rss - before

    assert size > 120 * 2**20
    assert taken() < 0.1 * size
    net.requires_grad_(True)
    assert taken() > 0.8 * size, "what is trained is copied"


@pytest.mark.parametrize("rank", [1, 4])
def test_a_sweep_changes_nothing(rank: int) -> None:
    net = adapted(8)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    weights = dict(net.named_parameters())
    before = {name: (weight.data_ptr(), weight.detach().clone()) for name, weight in weights.items()}
    batches = [(torch.randn(16, 8), torch.randn(16, 8)) for _ in range(4)]
    swept = lrfinder.sweep(net, train_loader=batches, loss_fn=loss, optimizer=optimizer, repeats=1, steps=40)
    assert min(swept.losses[0]) < swept.traces[0].initial_loss
    for name, weight in net.named_parameters():
        assert weight is weights[name]
        assert weight.data_ptr() == before[name][0]
        assert torch.equal(weight, before[name][1])
    assert not optimizer.state


def test_a_base_that_training_writes_to_is_told() -> None:
    net = adapted(8)
    base = net.base_model.model[0].base_layer.weight

    def training_step(model: nn.Module, batch) -> torch.Tensor:
        with torch.no_grad():
            base.mul_(0.9)
        return loss(model(batch[0]), batch[1])

    batches = [(torch.randn(16, 8), torch.randn(16, 8)) for _ in range(4)]
    with pytest.raises(ModelFileError, match="training wrote to 1 frozen weights"):
        lrfinder.sweep(net, train_loader=batches, training_step=training_step, repeats=1, steps=10)


def test_a_checkpoint_may_be_copied_into_the_base(tmp_path) -> None:
    net = adapted(8)
    before = {name: weight.clone() for name, weight in net.state_dict().items()}
    torch.save({name: weight + 1 for name, weight in before.items()}, tmp_path / "ck.pt")
    batches = [(torch.randn(16, 8), torch.randn(16, 8)) for _ in range(4)]
    lrfinder.sweep(net, train_loader=batches, loss_fn=loss, start_from=tmp_path / "ck.pt", repeats=2, steps=10)
    assert all(torch.equal(before[name], weight) for name, weight in net.state_dict().items())
