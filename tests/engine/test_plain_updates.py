"""The quick way of making updates: what it does is what torch's own calls do, and its errors say where they were."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

import lrfinder.engine.update.updater
from helpers.problems import CPU, regression
from lrfinder.engine.sweep import run_sweep
from lrfinder.engine.update.fast_path import zero_grad
from lrfinder.errors import user_code_location
from lrfinder.records import Stop, SweepSettings, UpdateOptions

SETTINGS = SweepSettings(steps=12, repeats=1, min_lr=1e-4, max_lr=1e-2)
BATCHES = [(torch.randn(8, 3, generator=torch.Generator().manual_seed(n)), torch.ones(8, 1)) for n in range(5)]


problem = partial(
    regression, name="plain", train_loader=BATCHES, optimizer=lambda params, lr: torch.optim.Adam(params, lr=lr)
)


@pytest.fixture
def taken(monkeypatch):
    """The plain ways that were taken."""
    made = []

    class Noted(lrfinder.engine.update.updater.FastPath):
        def __init__(self, *arguments, **named):
            made.append(self)
            super().__init__(*arguments, **named)

    monkeypatch.setattr(lrfinder.engine.update.updater, "FastPath", Noted)
    return made


def sharpness_aware(params, lr):
    class Aware(torch.optim.SGD):
        def step(self, closure=None):
            assert closure is not None, "needs a closure"
            return super().step(closure)

    return Aware(params, lr=lr)


@pytest.mark.parametrize(
    ("changes", "plain"),
    [
        ({}, True),
        ({"training": UpdateOptions(clip_norm=1e9)}, False),
        ({"training": UpdateOptions(accumulate=1)}, True),
        ({"optimizer": sharpness_aware}, False),
        ({"optimizer": lambda params, lr: torch.optim.LBFGS(params, lr=lr)}, False),
    ],
)
def test_it_is_taken_where_nothing_more_is_asked_and_its_losses_are_those_of_torchs_own_calls(
    recorder, taken, changes, plain
):
    torch.manual_seed(3)
    net = nn.Linear(3, 1)
    (trace,) = run_sweep(problem(model=net, **changes), SETTINGS, device=CPU, observer=recorder())
    assert bool(taken) == plain
    if plain or "training" in changes:
        optimizer, losses = torch.optim.Adam(net.parameters(), lr=1.0), []
        for number in range(13):
            inputs, target = BATCHES[number % 5]
            loss = nn.functional.mse_loss(net(inputs), target)
            losses.append(loss.item())
            if number < 12:
                optimizer.param_groups[0]["lr"] = trace.lrs[number]
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        assert [trace.initial_loss, *trace.losses] == losses


class Failing(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        raise ValueError("mine")


@pytest.mark.parametrize("at", [0, 1, 7])
@pytest.mark.parametrize("where", ["loss", "backward", "step"])
def test_an_error_says_in_which_update_it_came(recorder, at, where):
    calls = []

    def step(model, batch):
        loss = nn.functional.mse_loss(model(batch[0]), batch[1])
        calls.append(1)
        if where == "loss" and len(calls) == at + 1:
            raise ValueError("mine")
        return Failing.apply(loss) if where == "backward" and len(calls) == at + 1 else loss

    class Optimizer(torch.optim.SGD):
        made = 0

        def step(self, closure=None):
            if where == "step" and self.made == at:
                raise ValueError("mine")
            self.made += 1
            return super().step(closure)

    changes = {"loss_fn": None, "training_step": step, "optimizer": lambda params, lr: Optimizer(params, lr=lr)}
    observer = recorder()
    with pytest.raises(ValueError, match="mine") as raised:
        run_sweep(problem(**changes), SETTINGS, device=CPU, observer=observer)
    assert (
        user_code_location(raised.value)
        == {
            "loss": "calling training_step(model, batch)",
            "backward": f"running loss.backward() before update {at}",
            "step": f"calling optimizer.step() for update {at}",
        }[where]
    )
    assert observer.traces[0].stop is Stop.FAILED


@pytest.mark.parametrize("foreach", [False, True])
def test_zero_does_what_zero_grad_does(foreach):
    nets = [nn.Linear(3, 2), nn.Linear(3, 2)]
    for net in nets:
        net(torch.ones(1, 3)).sum().backward()
        net.bias.requires_grad_(False)
    zero_grad(torch.optim.SGD([{"params": [nets[0].weight]}, {"params": [nets[0].bias]}], lr=1.0, foreach=foreach))
    torch.optim.SGD(nets[1].parameters(), lr=1.0, foreach=foreach).zero_grad(set_to_none=True)
    assert [p.grad for p in nets[0].parameters()] == [p.grad for p in nets[1].parameters()] == [None, None]


@pytest.mark.parametrize("how", ["class", "instance"])
def test_a_zero_grad_of_the_optimizers_own_is_asked(how):
    asked = []

    class Own(torch.optim.SGD):
        def zero_grad(self, set_to_none=True):
            asked.append(set_to_none)

    net = nn.Linear(3, 2)
    optimizer = (Own if how == "class" else torch.optim.SGD)(net.parameters(), lr=1.0)
    if how == "instance":
        optimizer.zero_grad = lambda set_to_none=True: asked.append(set_to_none)
    net(torch.ones(1, 3)).sum().backward()
    zero_grad(optimizer)
    assert asked == [True]
    assert net.weight.grad is not None
