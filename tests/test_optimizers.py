"""The table of optimizers, held against torch.optim itself."""

from __future__ import annotations

import importlib
import inspect
import sys
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch

from lrfinder.optimizers import TRAITS, class_name, decoupled_decay, second_moment_decay, traits_of

CLASSES = {
    name: kind
    for name, kind in vars(torch.optim).items()
    if inspect.isclass(kind) and issubclass(kind, torch.optim.Optimizer) and kind is not torch.optim.Optimizer
}


@pytest.mark.as_pinned("torch")
def test_the_table_has_every_class_of_torch() -> None:
    assert set(TRAITS) == set(CLASSES)


def each(names: Iterable[str]) -> pytest.MarkDecorator:
    """Parametrize by `name`; one that this torch lacks needs the pinned torch."""
    newer = [pytest.mark.as_pinned("torch")]
    return pytest.mark.parametrize(
        "name", [pytest.param(name, marks=[] if name in CLASSES else newer) for name in names]
    )


@each(TRAITS)
def test_defaults_are_those_of_torch(name: str) -> None:
    signature = inspect.signature(CLASSES[name]).parameters
    assert {key: signature[key].default for key in TRAITS[name].defaults} == dict(TRAITS[name].defaults)
    second = TRAITS[name].second_moment
    assert second is None or second in signature


@each(TRAITS)
def test_decoupled_decay_shrinks_weights_without_a_gradient(name: str) -> None:
    signature = inspect.signature(CLASSES[name]).parameters
    if "weight_decay" not in signature or name in {"SGD", "ASGD", "RAdam"}:
        pytest.skip("no weight decay, or a first step by which it can't be told from L2")
    assert shrinks(CLASSES[name]) == TRAITS[name].decoupled


def shrinks(kind: Any) -> bool:
    """Tell whether an update without a gradient leaves 1 - rate x decay of the weights."""
    parameter = torch.nn.Parameter(torch.full((2, 2), 3.0))
    optimizer = kind([parameter], lr=0.1, weight_decay=0.5)
    parameter.grad = torch.zeros(2, 2)
    getattr(optimizer, "train", lambda: None)()  # of schedule-free ones
    optimizer.step()
    return torch.allclose(parameter, torch.full((2, 2), 3.0 * (1 - 0.1 * 0.5)), atol=1e-6)


def test_families_elsewhere_do_as_their_names_say(monkeypatch: pytest.MonkeyPatch) -> None:
    from schedulefree import AdamWScheduleFree

    timms: Any = types.ModuleType("timms")  # without the package around it, which wants torchvision
    timms.__path__ = [str(Path(sys.prefix) / "frameworks" / "timm" / "optim")]
    monkeypatch.setitem(sys.modules, "timms", timms)
    for kind in (AdamWScheduleFree, importlib.import_module("timms.lion").Lion):
        assert shrinks(kind)
        assert decoupled_decay(kind.__name__, {"weight_decay": 0.5}) is True


def test_what_is_not_known_is_not_told() -> None:
    for name in ("FusedAdam", "DeepSpeedCPUAdam", "Prodigy", "LAMB"):
        assert decoupled_decay(name, {"weight_decay": 0.5}) is None
    assert decoupled_decay("FusedAdam", {"adam_w_mode": True}) is True
    assert decoupled_decay("DeepSpeedCPUAdam", {"adamw_mode": False}) is False
    assert decoupled_decay("torch.optim.Adam", {}) is False


@each(name for name, traits in TRAITS.items() if traits.defaults and name != "SparseAdam")
def test_an_l1_optimizer_divides_the_gradient_by_its_size(name: str) -> None:
    """`schedule explain` says so of these, and of no other."""
    ends = []
    for scale in (1.0, 0.01):
        parameter = torch.nn.Parameter(torch.ones(2, 2))
        optimizer: Any = CLASSES[name]([parameter], lr=0.01)
        for t in range(20):
            if t == 10:  # RAdam doesn't divide by it at first
                begin = parameter.detach().mean().item()
            parameter.grad = scale * (torch.ones(2, 2) + 0.1 * t)
            optimizer.step()
        ends.append(begin - parameter.detach().mean().item())
    alike = ends[1] > 0.5 * ends[0]
    assert alike == (TRAITS[name].norm == "l1")


def test_a_class_without_a_name_is_called_by_its_base() -> None:
    odd = type("f() or SGD", (torch.optim.SGD,), {})
    assert class_name(odd([torch.nn.Parameter(torch.zeros(1))])) == "SGD"
    assert class_name(type("Mine", (odd,), {})([torch.nn.Parameter(torch.zeros(1))])) == "Mine"


def test_a_stranger_has_no_traits() -> None:
    assert traits_of("Prodigy").second_moment is None
    assert second_moment_decay("Prodigy", {"betas": (0.9, 0.95)}) == 0.95
    assert second_moment_decay("RMSprop", {"alpha": 0.9}) == 0.9
    assert second_moment_decay("SGD", {"momentum": 0.9}) is None
