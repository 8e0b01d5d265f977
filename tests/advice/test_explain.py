"""What binds the rate, against the frameworks' own signatures, real updates, and closed forms."""

from __future__ import annotations

import inspect
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from helpers.processes import environment
from helpers.zygote import Zygote
from lrfinder.advice.explain import DEFAULTS, Fact, explain
from lrfinder.config import OptimizerConfig, ScheduleConfig, dump
from lrfinder.schedules import Constant, Cosine, Linear, Schedule


def config(name: str, settings: dict, schedule: Schedule | None = None, lr: float = 0.1) -> ScheduleConfig:
    return ScheduleConfig(
        optimizer=OptimizerConfig(name=name, lr=lr, settings=settings),
        schedule=schedule or Linear(steps=100, warmup=10),
    )


def facts(made: ScheduleConfig) -> dict[str, Fact]:
    return {fact.name: fact for fact in explain(made)}


@pytest.mark.parametrize("name", DEFAULTS)
def test_torchs_defaults_are_torchs(name: str) -> None:
    signature = inspect.signature(getattr(torch.optim, name))
    for key, value in DEFAULTS[name]["torch"].items():
        assert signature.parameters[key].default == value


@pytest.mark.needs("keras")
def test_keras_defaults_are_kerass(zygote: Zygote) -> None:
    code = """
import inspect, json, keras, sys
wanted = json.load(sys.stdin)
for name, defaults in wanted.items():
    signature = inspect.signature(getattr(keras.optimizers, name))
    for key, value in defaults.items():
        assert signature.parameters[key].default == value, (name, key, signature.parameters[key].default)
"""
    wanted = {name: frameworks["keras"] for name, frameworks in DEFAULTS.items()}
    zygote.python(code, given=json.dumps(wanted), env={"KERAS_BACKEND": "torch"})


@pytest.mark.parametrize("dampening", [0.0, 0.5, 0.9])
def test_the_effective_rate_is_what_a_steady_gradient_moves_by(dampening: float) -> None:
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9, dampening=dampening)
    for _ in range(300):
        weight.grad = torch.ones(1)
        before = weight.item()
        optimizer.step()
    found = facts(config("SGD", {"momentum": 0.9, "dampening": dampening}))["effective rate"].value
    assert before - weight.item() == pytest.approx(found, rel=1e-3)


def test_what_decoupled_decay_leaves_is_what_torch_leaves() -> None:
    made = config("AdamW", {"betas": (0.9, 0.999), "weight_decay": 0.5}, Cosine(steps=200, warmup=20), lr=0.01)
    weight = nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = torch.optim.AdamW([weight], lr=1.0, weight_decay=0.5)
    scheduler = made.scheduler(optimizer)
    for _ in range(200):
        weight.grad = torch.zeros(1, dtype=torch.float64)
        optimizer.step()
        scheduler.step()
    found = facts(made)
    assert found["weights left by decay"].value == pytest.approx(weight.item(), rel=0.01)
    assert found["weight decay's timescale"].value == pytest.approx(1 / (0.01 * 0.5))


def test_a_long_run_is_summed_as_well() -> None:
    made = config("AdamW", {"weight_decay": 0.1}, Linear(steps=1_000_000, warmup=100_000), lr=1e-5)
    area = 1e-5 * (100_000 / 2 + 900_000 / 2)
    assert facts(made)["weights left by decay"].value == pytest.approx(math.exp(-0.1 * area), rel=1e-4)


@pytest.mark.parametrize(
    ("name", "settings", "needed"),
    [("AdamW", {"betas": (0.9, 0.95)}, 40), ("RMSprop", {"alpha": 0.99}, 200), ("SGD", {"momentum": 0.9}, None)],
)
def test_warmup_need(name: str, settings: dict, needed: float | None) -> None:
    found = facts(config(name, settings)).get("warm-up need")
    assert (found is None) if needed is None else found.value == pytest.approx(needed)


def train(settings: dict, *, scale_loss: bool) -> torch.Tensor:
    """Train by a decaying rate, or by a decaying loss at the peak rate."""
    name = settings.pop("name")
    made = config(name, {}, Linear(steps=30), lr=0.05)
    torch.manual_seed(0)
    model = nn.Linear(3, 1).double()
    inputs = torch.randn(30, 8, 3, dtype=torch.float64)
    optimizer = getattr(torch.optim, name)(model.parameters(), lr=0.05, **settings)
    for t, x in enumerate(inputs):
        scale = 1.0
        if scale_loss:
            scale = made.loss_scale(t)
        else:
            optimizer.param_groups[0]["lr"] = made.rate(t)
        optimizer.zero_grad()
        (scale * (model(x) - x.sum(1, keepdim=True)).pow(2).mean()).backward()
        optimizer.step()
    return model.weight.detach()


@pytest.mark.parametrize(
    ("settings", "same"),
    [
        ({"name": "SGD"}, True),
        ({"name": "SGD", "momentum": 0.9}, False),
        ({"name": "SGD", "weight_decay": 0.1}, False),
        ({"name": "Adam"}, False),
    ],
)
def test_loss_scaling_is_the_decay_for_plain_sgd_alone(settings: dict, same: bool) -> None:
    keywords = {key: value for key, value in settings.items() if key != "name"}
    decayed, scaled = train(dict(settings), scale_loss=False), train(dict(settings), scale_loss=True)
    assert torch.allclose(decayed, scaled, rtol=1e-12, atol=1e-12) is same
    told = facts(config(settings["name"], keywords))["loss scaling"].text
    assert ("is the same as this decay" in told) is same
    assert ("next to nothing" in told) is (settings["name"] == "Adam")


def test_l2_is_told_from_decoupled_decay() -> None:
    assert "(L2)" in facts(config("Adam", {"weight_decay": 0.1}))["weight decay"].text
    assert "weight decay's timescale" in facts(config("Adam", {"weight_decay": 0.1, "decoupled_weight_decay": True}))


@pytest.mark.as_pinned("torch")
def test_muons_momentum_does_not_raise_its_rate() -> None:
    """Its update has the size of the rate, whatever was added up."""
    moved = []
    for momentum in (0.0, 0.9):
        weight = nn.Parameter(torch.zeros(4, 4))
        optimizer = torch.optim.Muon([weight], lr=0.1, momentum=momentum, weight_decay=0.0)
        for _ in range(50):
            before = weight.detach().clone()
            weight.grad = torch.eye(4)
            optimizer.step()
        moved.append((weight - before).norm().item())
    assert moved[1] == pytest.approx(moved[0], rel=0.05)
    assert "effective rate" not in facts(config("Muon", {"momentum": 0.9}))


def test_what_is_not_known_of_an_optimizer_is_said_to_be_so() -> None:
    found = facts(config("FusedAdam", {"betas": (0.9, 0.99), "weight_decay": 0.1}))
    for name in ("effective rate", "weight decay", "loss scaling"):
        assert "isn't known here" in found[name].text
    assert found["effective rate"].value is None
    assert "weight decay's timescale" in facts(config("Adafactor", {"weight_decay": 0.1}))
    assert "isn't known here" in facts(config("ASGD", {}))["loss scaling"].text


def test_of_several_optimizers_each_is_told() -> None:
    adams = facts(config("Adam + AdamW", {"weight_decay": 0.1, "betas": (0.9, 0.99)}))
    assert adams["weight decay"].text == (
        "weight decay 0.1: Adam adds it to the gradient (L2), AdamW shrinks the weights by lr x decay in each update "
        "(decoupled); which of them has it isn't known here"
    )
    assert "next to nothing" in adams["loss scaling"].text
    assert adams["warm-up need"].text.startswith("Adam's second moment averages about 2/(1 - 0.99) = 200 updates")
    others = facts(config("SGD + AdamW", {"momentum": 0.9, "weight_decay": 0.1}))
    assert "weight decay's timescale" not in others
    for name in ("effective rate", "loss scaling"):
        assert "differs between SGD and AdamW, or isn't known here" in others[name].text


@pytest.mark.parametrize(
    ("name", "betas", "beta"),
    [("Lion", (0.9, 0.99), None), ("Adan", (0.98, 0.92, 0.99), 0.99), ("Sophia", (0.9, 0.99), None)],
)
def test_the_second_moment_is_told_where_it_is_known(name: str, betas: tuple[float, ...], beta: float | None) -> None:
    """The numbers that decay it are held against the optimizers themselves in test_optimizers.py."""
    found = facts(config(name, {"betas": betas})).get("warm-up need")
    assert (found is None) if beta is None else (found.value == pytest.approx(2 / (1 - beta)))


@pytest.mark.parametrize("name", ["LBFGS", "Rprop", "SparseAdam"])
def test_a_setting_that_torch_does_not_take_is_told(name: str) -> None:
    with pytest.raises(TypeError, match="weight_decay"):
        getattr(torch.optim, name)([nn.Parameter(torch.zeros(1))], lr=0.1, weight_decay=0.1)
    found = facts(config(name, {"weight_decay": 0.1}))["weight decay"]
    assert found.text.startswith(f"{name} takes no weight_decay")
    assert found.value is None
    assert "effective rate" not in facts(config("SGD", {"betas": (0.9, 0.99)}))


def test_the_command(tmp_path: Path) -> None:
    path = tmp_path / "schedule.yaml"
    dump(config("AdamW", {"betas": (0.9, 0.999), "weight_decay": 0.01}, Constant(steps=50)), path)
    words = [sys.executable, "-m", "lrfinder", "schedule", "explain", str(path)]
    shown = subprocess.run(words, env=environment(), capture_output=True, text=True, check=True)
    assert "warm-up need" in shown.stdout
    assert shown.stderr == ""
    document = json.loads(
        subprocess.run([*words, "--json"], env=environment(), capture_output=True, text=True, check=True).stdout
    )
    assert document["facts"][0]["name"] == "effective rate"
