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

from lrfinder.optimizers import TRAITS, class_name, decoupled_decay, not_taken, second_moment_decay, traits_of

CLASSES = {
    name: kind
    for name, kind in vars(torch.optim).items()
    if inspect.isclass(kind) and issubclass(kind, torch.optim.Optimizer) and kind is not torch.optim.Optimizer
}

NEW_IN_2_14 = {"LBFGS": {"maximize"}}  # torch 2.13 is pinned


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


@pytest.mark.as_pinned("torch")
@each(TRAITS)
def test_settings_are_those_of_torch(name: str) -> None:
    known = {"params", "lr", *(TRAITS[name].takes or ())}
    taken = set(inspect.signature(CLASSES[name]).parameters)
    assert taken <= known
    assert known - taken <= NEW_IN_2_14.get(name, set())


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


def timms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let timm's optimizers be imported without the package around them, which wants torchvision."""
    package: Any = types.ModuleType("timms")
    package.__path__ = [str(Path(sys.prefix) / "frameworks" / "timm" / "optim")]
    monkeypatch.setitem(sys.modules, "timms", package)


def test_families_elsewhere_do_as_their_names_say(monkeypatch: pytest.MonkeyPatch) -> None:
    from schedulefree import AdamWScheduleFree

    timms(monkeypatch)
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


def averages_squares(kind: Any, settings: dict[str, Any]) -> set[float]:
    """Return by what the averages of squares decay in updates without a gradient: only they are never negative."""
    parameter = torch.nn.Parameter(torch.full((4, 4), 3.0, dtype=torch.float64))
    optimizer = kind([parameter], lr=0.01, **settings)
    getattr(optimizer, "train", lambda: None)()
    seen: dict[str, list[torch.Tensor]] = {}
    for t in range(6):
        parameter.grad = torch.full_like(parameter, -1.0 if t < 3 else 0.0)
        optimizer.step()
        for key, value in optimizer.state[parameter].items():
            if isinstance(value, torch.Tensor) and value.numel() > 1:
                seen.setdefault(key, []).append(value.detach().clone())
    squares = [
        each
        for each in seen.values()
        if len(each) == 6 and (each[2] > 0).all() and (each[5] > 0).all() and not (each[2] == 3).all()
    ]
    return {round((each[5] / each[4]).max().item(), 6) for each in squares} - {1.0}


BETAS = {"betas": (0.5, 0.7)}
ELSEWHERE = {
    "timms.lion.Lion": {"betas": (0.5, 0.7)},
    "timms.lamb.Lamb": {"betas": (0.5, 0.7)},
    "timms.adopt.Adopt": {"betas": (0.5, 0.7)},
    "timms.adan.Adan": {"betas": (0.5, 0.6, 0.7)},
    "timms.adamp.AdamP": {"betas": (0.5, 0.7)},
    "timms.nadamw.NAdamW": {"betas": (0.5, 0.7)},
    "schedulefree.AdamWScheduleFree": {"betas": (0.5, 0.7)},
    "prodigyopt.Prodigy": {"betas": (0.5, 0.7)},
}


@pytest.mark.parametrize("path", ELSEWHERE)
def test_the_second_moment_decays_by_the_setting_that_is_told(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    timms(monkeypatch)
    module, _, name = path.rpartition(".")
    kind = getattr(importlib.import_module(module), name)
    told = second_moment_decay(name, ELSEWHERE[path])
    assert averages_squares(kind, ELSEWHERE[path]) == (set() if told is None else {told})


@each(
    name for name, traits in TRAITS.items() if name not in {"SparseAdam", "LBFGS", "Rprop", "Muon"} and traits.defaults
)
def test_the_second_moment_of_torchs_own(name: str) -> None:
    settings: Any = {key: 0.7 for key in ("alpha", "rho") if key in TRAITS[name].defaults}
    settings |= BETAS if "betas" in TRAITS[name].defaults else {}
    told = second_moment_decay(name, settings)
    assert told == (0.7 if settings else None)
    if told is not None:
        assert told in averages_squares(CLASSES[name], settings)


def test_a_stranger_has_no_traits() -> None:
    assert traits_of("Sophia").second_moment == ()
    assert second_moment_decay("Sophia", {"betas": (0.9, 0.95)}) is None
    assert second_moment_decay("bnb.optim.Adam", {"betas": (0.9, 0.95)}) == 0.95
    assert second_moment_decay("Adan", {"betas": (0.9, 0.95)}) is None
    assert second_moment_decay("RMSprop", {"alpha": 0.9}) == 0.9
    assert second_moment_decay("SGD", {"momentum": 0.9}) is None


def test_of_several_is_told_what_they_have_in_common() -> None:
    adams, others = traits_of("Adam + AdamW"), traits_of("SGD + AdamW")
    assert (adams.known, adams.decoupled, adams.norm) == (True, None, "l1")
    assert (others.known, others.decoupled, others.no_decay) == (False, None, None)
    assert traits_of("AdamW + AdamWScheduleFree").decoupled is True
    assert second_moment_decay("SGD + AdamW", {"betas": (0.9, 0.95)}) is None  # the settings are the first's
    assert second_moment_decay("AdamW + SGD", {"betas": (0.9, 0.95)}) == 0.95
    assert decoupled_decay("Adam + AdamW", {"decoupled_weight_decay": True}) is None


def test_settings_that_a_class_does_not_take_are_those_that_torch_refuses() -> None:
    for name, key in (
        ("LBFGS", "weight_decay"),
        ("Rprop", "weight_decay"),
        ("SparseAdam", "weight_decay"),
        ("SGD", "betas"),
    ):
        with pytest.raises(TypeError, match=key):
            CLASSES[name]([torch.nn.Parameter(torch.zeros(1))], lr=0.1, **{key: (0.1, 0.1)})
        assert not_taken(name, [key]) == not_taken(f"torch.optim.{name}", [key]) == (key,)
    assert not_taken("mine.SGD", ["betas"]) == not_taken("SGD + Adam", ["betas"]) == ()
