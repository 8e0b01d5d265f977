"""The table of optimizers, held against torch.optim itself."""

from __future__ import annotations

import inspect

import pytest
import torch

from lrfinder.optimizers import TRAITS, class_name, second_moment_decay, traits_of

CLASSES = {
    name: kind
    for name, kind in vars(torch.optim).items()
    if inspect.isclass(kind) and issubclass(kind, torch.optim.Optimizer) and kind is not torch.optim.Optimizer
}


def test_the_table_has_every_class_of_torch() -> None:
    assert set(TRAITS) == set(CLASSES)


@pytest.mark.parametrize("name", TRAITS)
def test_defaults_are_those_of_torch(name: str) -> None:
    signature = inspect.signature(CLASSES[name]).parameters
    assert {key: signature[key].default for key in TRAITS[name].defaults} == dict(TRAITS[name].defaults)
    second = TRAITS[name].second_moment
    assert second is None or second in signature


@pytest.mark.parametrize("name", TRAITS)
def test_decoupled_decay_shrinks_weights_without_a_gradient(name: str) -> None:
    signature = inspect.signature(CLASSES[name]).parameters
    if "weight_decay" not in signature or name in {"Adafactor", "SGD", "ASGD", "RAdam"}:
        pytest.skip("no weight decay, or a first step by which it can't be told from L2")
    weights = torch.full((2, 2), 3.0)
    kind = CLASSES[name]
    optimizer = kind([torch.nn.Parameter(weights)], lr=0.1, weight_decay=0.5)  # type: ignore[call-arg]
    parameter = optimizer.param_groups[0]["params"][0]
    parameter.grad = torch.zeros(2, 2)
    optimizer.step()
    shrunk = torch.allclose(parameter, torch.full((2, 2), 3.0 * (1 - 0.1 * 0.5)), atol=1e-6)
    assert shrunk == TRAITS[name].decoupled


def test_a_class_without_a_name_is_called_by_its_base() -> None:
    odd = type("f() or SGD", (torch.optim.SGD,), {})
    assert class_name(odd([torch.nn.Parameter(torch.zeros(1))])) == "SGD"
    assert class_name(type("Mine", (odd,), {})([torch.nn.Parameter(torch.zeros(1))])) == "Mine"


def test_a_stranger_has_no_traits() -> None:
    assert traits_of("Prodigy").second_moment is None
    assert second_moment_decay("Prodigy", {"betas": (0.9, 0.95)}) == 0.95
    assert second_moment_decay("RMSprop", {"alpha": 0.9}) == 0.9
    assert second_moment_decay("SGD", {"momentum": 0.9}) is None
