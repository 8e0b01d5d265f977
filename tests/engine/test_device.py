"""Device names, and an optimizer whose state must follow its parameters."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from helpers.problems import CPU, regression
from lrfinder.engine.losses.readback import DelayedReadback
from lrfinder.engine.runtime.device import available_devices, choose_device, device_title, move_optimizer_state
from lrfinder.engine.sweep import run_sweep
from lrfinder.errors import UsageError
from lrfinder.records import Metric, SweepSettings
from lrfinder.task.first_loss import SQUARED_ERROR, Targets


def test_auto_takes_the_best_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto") == CPU
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto") == torch.device("mps")
    assert available_devices() == {"cpu": 1, "mps": 1}
    with pytest.raises(UsageError, match=r"^device 'mps:1' isn't there: the only one is mps:0$"):
        choose_device("mps:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto") == torch.device("cuda")
    assert choose_device("cuda:1") == torch.device("cuda:1")
    assert available_devices() == {"cpu": 1, "cuda": 2, "mps": 1}
    with pytest.raises(UsageError, match=r"^device 'cuda:2' isn't there: they are cuda:0 to cuda:1$") as raised:
        choose_device("cuda:2")
    assert raised.value.hint == "available: cpu, cuda, mps; `auto` takes the best of them"


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x", "cuda:-1"])
def test_a_name_that_torch_does_not_know(name):
    with pytest.raises(UsageError) as raised:
        choose_device(name)
    assert str(raised.value) == f"no such device: {name!r}"
    assert raised.value.hint.startswith("available: cpu")


def test_a_device_that_is_not_here(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in ("cuda", "cuda:0", "meta"):
        with pytest.raises(UsageError) as raised:
            choose_device(name)
        assert str(raised.value) == f"device {name!r} isn't available here"
        assert raised.value.hint.startswith("available: cpu")


def test_state_follows_parameters_to_another_device():
    parameter = nn.Parameter(torch.ones(2, device="meta"))  # stands in for a GPU
    optimizer = torch.optim.Adam([parameter])
    used_on_the_cpu = {"step": torch.tensor(1.0), "exp_avg": torch.ones(2), "exp_avg_sq": torch.ones(2)}
    optimizer.state[parameter] = dict(used_on_the_cpu)
    move_optimizer_state(optimizer)
    moved = optimizer.state[parameter]
    assert {key: value.device.type for key, value in moved.items()} == {
        "step": "cpu",
        "exp_avg": "meta",
        "exp_avg_sq": "meta",
    }
    assert {value.device.type for value in used_on_the_cpu.values()} == {"cpu"}


def test_state_that_is_where_its_parameters_are_is_left_alone():
    model = nn.Linear(2, 1)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    before = {id(value) for state in optimizer.state.values() for value in state.values()}
    move_optimizer_state(optimizer)
    assert {id(value) for state in optimizer.state.values() for value in state.values()} == before


def test_the_title_of_a_card_is_its_name(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"Card {device.index}")
    assert device_title(torch.device("cuda:1")) == "cuda:1 (Card 1)"
    assert device_title(CPU) == "cpu"


@pytest.mark.parametrize("metric", list(Metric))
def test_a_default_device_of_the_user_s_changes_nothing(recorder, metric):
    batches = [(torch.randn(80, 3), torch.randn(80, 1))] * 4
    problem = regression(
        model=lambda: nn.Linear(3, 1, device="cpu"), train_loader=batches, val_loader=lambda: iter(batches)
    )
    settings = SweepSettings(steps=20, repeats=1, metric=metric)
    (expected,) = run_sweep(problem, settings, device=CPU, observer=recorder())
    seen = Targets()
    with torch.device("meta"):  # stands in for a GPU: what is made there by mistake has no numbers
        (found,) = run_sweep(problem, settings, device=CPU, observer=recorder())
        readback = DelayedReadback(CPU)
        assert [*readback.put(torch.tensor(2.0, device="cpu"), None), *readback.rest()] == [(2.0, 0.0)]
        seen.see(SQUARED_ERROR, None, batches[0][1], None)
    assert found.losses == expected.losses
    assert seen.constant == pytest.approx(batches[0][1].var(correction=0).item())
