"""What is seen of a script's optimizers, held to what torch itself makes of them."""

from __future__ import annotations

import gc
import json
import os
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from lrfinder.scripts.inside import facts
from lrfinder.scripts.inside.followed import FollowedOptimizer, watch_first_rates
from lrfinder.scripts.inside.messages import Messages
from lrfinder.scripts.inside.weights import MadeOptimizers, largest_of


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    kind = torch.optim.Optimizer
    monkeypatch.setattr(kind, "add_param_group", kind.add_param_group)
    watch_first_rates()
    yield
    gc.collect()  # schedulers of one test


@pytest.mark.parametrize(
    "scheduler",
    [
        lambda made: lr_scheduler.OneCycleLR(made, 0.3, total_steps=50),
        lambda made: lr_scheduler.CyclicLR(made, 0.01, 0.25, step_size_up=10),
        lambda made: lr_scheduler.LambdaLR(made, lambda t: min(1.0, t / 10)),
        lambda made: lr_scheduler.StepLR(made, 10),
    ],
)
def test_the_own_rate_is_the_highest_that_a_scheduler_comes_to(scheduler: Callable[[Any], Any]) -> None:
    optimizer = torch.optim.SGD(nn.Linear(2, 1).parameters(), lr=0.1, momentum=0.9)
    made = scheduler(optimizer)
    own_rate, seen = FollowedOptimizer(optimizer).own_rate, []
    for _ in range(49):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        made.step()
    assert own_rate == pytest.approx(max(seen))


@pytest.mark.parametrize(
    ("rates", "default", "own"),
    [((1e-5, 1e-4), None, 1e-4), ((1e-5, None), 0.02, 0.02), ((0.3, None), 0.02, 0.3), ((None, None), None, 1e-3)],
)
def test_without_a_scheduler_it_is_the_highest_that_a_group_was_made_with(
    rates: tuple[float | None, ...], default: float | None, own: float
) -> None:
    net = nn.Linear(2, 1)
    groups = [
        {"params": [weight]} | ({} if rate is None else {"lr": rate})
        for weight, rate in zip(net.parameters(), rates, strict=True)
    ]
    optimizer = torch.optim.Adam(groups) if default is None else torch.optim.Adam(groups, lr=default)
    expected = max(group["lr"] for group in optimizer.param_groups)
    assert expected == own
    for group in optimizer.param_groups:
        group["lr"] = 0.0  # a warm-up by hand
    assert FollowedOptimizer(optimizer).own_rate == own


def test_a_rate_of_none_is_no_rate() -> None:
    class Relative(torch.optim.Optimizer):  # as Adafactor with relative steps
        def __init__(self, weights: Any) -> None:
            super().__init__(weights, {"lr": None})

    assert not FollowedOptimizer.has_rate(Relative(nn.Linear(2, 1).parameters()))


def test_weights_that_are_packed_in_whole_numbers_are_left_out() -> None:
    made = MadeOptimizers()
    packed = [
        nn.Parameter(torch.full((3,), 200, dtype=torch.uint8), requires_grad=False),
        nn.Parameter(torch.ones(3).to(torch.float8_e4m3fn), requires_grad=False),
    ]
    weight = nn.Parameter(torch.tensor([3.0, -4.0]))
    optimizer = torch.optim.AdamW([*packed, weight])
    assert made.place() == [5.0]
    assert largest_of(optimizer) == 4.0


def test_rates_are_set_in_the_groups_that_a_loaded_state_has_made() -> None:
    net = nn.Linear(2, 1)
    optimizer = torch.optim.SGD([{"params": [net.weight], "lr": 0.1}, {"params": [net.bias], "lr": 0.01}])
    followed = FollowedOptimizer(optimizer)
    followed.set(0.5)
    followed.put_back()
    optimizer.load_state_dict(optimizer.state_dict())
    followed.set(0.7)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.7, 0.07])
    assert followed.rates == pytest.approx([0.7, 0.07])
    followed.put_back()
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.01]
    assert not followed.moved


def test_losses_are_written_as_json_and_by_the_process_that_saw_them_alone() -> None:
    reading, writing = os.pipe()
    messages = Messages(writing)
    losses = [0.1, -3.0, 0.0, 1e22, 5e-324, 123456789.123456789]
    for updates, loss in enumerate(losses):
        messages.send_loss(loss, updates)
    child = os.fork()
    if child == 0:
        messages.send("made")
        os._exit(0)
    os.waitpid(child, 0)
    messages.send("end")
    os.close(writing)
    with os.fdopen(reading) as lines:
        first, made, *others, end = lines.read().splitlines()
    expected = [{"kind": "loss", "loss": loss, "updates": updates} for updates, loss in enumerate(losses)]
    assert [first, *others] == [json.dumps(message) for message in expected]
    assert [json.loads(line)["kind"] for line in (made, end)] == ["made", "end"]


class Data:
    pass


@pytest.mark.parametrize("asks", [False, True], ids=["", "locals()"])
def test_the_variables_of_a_script_are_freed_and_seen_as_before(asks: bool) -> None:
    def train() -> None:
        optimizer = torch.optim.SGD(nn.Linear(2, 1).parameters())
        settings = locals() if asks else {"optimizer": optimizer}
        batch = Data()
        first = weakref.ref(batch)
        assert facts.names_of(optimizer) == ("SGD", "optimizer")
        del batch
        assert settings["optimizer"] is optimizer
        assert (first() is None) or asks  # what locals() gave holds it

    train()


def test_what_a_scheduler_keeps_in_the_groups_is_no_setting() -> None:
    optimizer = torch.optim.SGD(nn.Linear(2, 1).parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=10, cycle_momentum=False)
    loaders = type("", (), {"current": lambda _: (None, None)})()
    seen = facts.facts_of(optimizer, [1.0], 1, loaders)
    again = type(optimizer)(nn.Linear(2, 1).parameters(), lr=0.1, **seen["settings"])
    assert (seen["optimizer"], seen["default_lr"]) == ("SGD", torch.optim.SGD([torch.zeros(1)]).defaults["lr"])
    assert (again.defaults["momentum"], again.defaults["weight_decay"]) == (0.9, 0.01)
