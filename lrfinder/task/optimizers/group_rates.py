"""Collect one or several optimizers by name, and read the rates of their param groups."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import nn

from lrfinder.errors import ModelFileError
from lrfinder.task.calling import describe_value
from lrfinder.task.hooks import hooks_taken_off

OptimizerSet = dict[str, torch.optim.Optimizer]
OptimizerRates = dict[str, list[float]]  # the rate of each param group, by the name of the optimizer

SINGLE = "optimizer"  # the name of an optimizer that is the only one

# `optimizer(params, lr)` is called with this rate; the sweep sets its own rates later. Every class in torch.optim
# accepts it (it is the default of Adam and SGD, among others), and it has no other effect.
REFERENCE_LR = 1e-3

# Relative tolerance for the test whether a rate is a multiple of `lr`: users multiply in float64, tensors hold float32.
_FOLLOWS = 1e-5


def as_optimizer_set(made: Any) -> OptimizerSet:
    """Return the optimizers in `made` by name: an optimizer, or a sequence or mapping of optimizers.

    Each optimizer appears only once, as what is inside its wrapper. The result is empty if `made` is or holds something
    else.
    """
    if isinstance(made, torch.optim.Optimizer):
        return {SINGLE: unwrapped(made)}
    values = list(made.values()) if isinstance(made, Mapping) else list(made) if isinstance(made, list | tuple) else []
    if not all(isinstance(value, torch.optim.Optimizer) for value in values):
        return {}
    each = {id(value): unwrapped(value) for value in values}.values()
    return {f"{SINGLE} {index}": value for index, value in enumerate(each)}


def unwrapped(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """Return the optimizer inside one that only passes calls on, as Accelerate's does: it was never initialized.

    Accelerate's makes no step in the middle of an accumulation, which nothing in a sweep would end.
    """
    inner: Any = optimizer
    while not hasattr(inner, "_optimizer_step_pre_hooks") and isinstance(
        getattr(inner, "optimizer", None), torch.optim.Optimizer
    ):
        inner = inner.optimizer
    return cast("torch.optim.Optimizer", inner)


def as_named_optimizer_set(made: Any) -> OptimizerSet:
    """Return `made` as a dict if it is a mapping from names to optimizers; an empty dict if it is anything else."""
    if not isinstance(made, Mapping):
        return {}
    good = all(isinstance(key, str) and isinstance(value, torch.optim.Optimizer) for key, value in made.items())
    return {name: unwrapped(optimizer) for name, optimizer in made.items()} if good else {}


def rates_of(fleet: OptimizerSet) -> OptimizerRates:
    """Return the rate of every param group, by the name of its optimizer.

    If a scheduler's warm-up holds one at 0, they are the full rates, which the scheduler keeps in `initial_lr`.
    """
    return {
        name: _full_rates(optimizer) if any(not group["lr"] for group in optimizer.param_groups) else _rates(optimizer)
        for name, optimizer in fleet.items()
    }


def check_rates(fleet: OptimizerSet, where: str) -> None:
    """Raise ModelFileError if a param group has no finite number as its rate: there is none to sweep."""
    for optimizer in fleet.values():
        for index, group in enumerate(optimizer.param_groups):
            rates = [group.get("lr"), *([group["initial_lr"]] if "initial_lr" in group else [])]
            wrong = next((rate for rate in rates if not _is_finite(rate)), ...)
            if wrong is not ...:
                shown = "no rate" if wrong is None else f"{describe_value(wrong)} as its rate"
                kind = type(optimizer).__name__
                raise ModelFileError(
                    f"{where}: param group {index} of {kind} has {shown}, so there is none to sweep",
                    hint="pass lr on as a number, and switch off what replaces it, such as relative_step=False",
                )


def _is_finite(rate: object) -> bool:
    try:
        return math.isfinite(float(rate))  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError, OverflowError):  # None, a list, a tensor of several numbers
        return False


def _rates(optimizer: torch.optim.Optimizer) -> list[float]:
    return [float(group["lr"]) for group in optimizer.param_groups]


def _full_rates(optimizer: torch.optim.Optimizer) -> list[float]:
    return [float(group.get("initial_lr", group["lr"])) for group in optimizer.param_groups]


def probe_lr_scaling(
    build: Callable[[float], OptimizerSet], model: nn.Module
) -> tuple[OptimizerSet, OptimizerRates, OptimizerRates]:
    """Call `build(lr)` for 2 * REFERENCE_LR and for REFERENCE_LR, to see which param groups scale with lr.

    Return the optimizers that were built with REFERENCE_LR, their rates, and the rates for 2 * REFERENCE_LR. Only this
    comparison tells a rate that is a multiple of lr from a fixed rate. Hooks that the optimizers for 2 * REFERENCE_LR
    added to the model's parameters are removed.

    A scheduler that warms up keeps the full rates in `initial_lr`. They count if they follow lr; else they are those of
    a scheduler in an earlier run, whose state was loaded.
    """
    with hooks_taken_off(model.parameters()):
        twice = build(2 * REFERENCE_LR)
    doubled, full_doubled = rates_of(twice), {name: _full_rates(optimizer) for name, optimizer in twice.items()}
    fleet = build(REFERENCE_LR)
    rates, full = rates_of(fleet), {name: _full_rates(optimizer) for name, optimizer in fleet.items()}
    for name in full.keys() & full_doubled.keys():
        if any(full[name]) and all(scales_with_lr(full[name], full_doubled[name])):
            rates[name], doubled[name] = full[name], full_doubled[name]
    return fleet, rates, doubled


def scales_with_lr(rates: list[float], doubled: list[float]) -> list[bool]:
    """Return for each param group whether its rate is a multiple of lr; `doubled` are the rates for twice the lr."""
    return [math.isclose(2 * rate, twice, rel_tol=_FOLLOWS) for rate, twice in zip(rates, doubled, strict=True)]


def largest_rate(rates: list[float], what: str, where: str) -> float:
    """Return the largest of `rates`, the rates of `what`; raise ModelFileError unless it is finite and above 0."""
    largest = max(rates)
    if not (math.isfinite(largest) and largest > 0):
        raise ModelFileError(f"{where}: {what}'s rates are {rates}", hint="give at least one group a rate above 0")
    return largest


def describe_optimizer_set(made: Any) -> str:
    """Describe `made`, which was given in place of optimizers, in a few words for messages."""
    if isinstance(made, list | tuple | Mapping):
        inside = list(made.values()) if isinstance(made, Mapping) else list(made)
        wrong = [value for value in inside if not isinstance(value, torch.optim.Optimizer)]
        return f"{describe_value(made)} with {describe_value(wrong[0])} in it" if wrong else describe_value(made)
    return describe_value(made)
