"""Several optimizers as they are given, by name, and the rates of their param groups."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from lrfinder.errors import ModelFileError
from lrfinder.task.calling import describe_value
from lrfinder.task.hooks import hooks_taken_off

OptimizerSet = dict[str, torch.optim.Optimizer]
OptimizerRates = dict[str, list[float]]  # of each param group, by optimizer

SINGLE = "optimizer"  # the name of the only one

# The rate that `optimizer(params, lr)` is built with; the sweep then sets its own. Every class in torch.optim takes it
# (it is the default of Adam, SGD and RMSprop among them), and it has no other effect.
REFERENCE_LR = 1e-3

# How far a group's rate may be from following `lr` exactly: users multiply rates in float64, tensors hold float32.
_FOLLOWS = 1e-5


def as_optimizer_set(made: Any) -> OptimizerSet:
    """Return the optimizer, or those in the sequence or mapping `made`, each once; empty if it is something else."""
    if isinstance(made, torch.optim.Optimizer):
        return {SINGLE: made}
    values = list(made.values()) if isinstance(made, Mapping) else list(made) if isinstance(made, list | tuple) else []
    if not all(isinstance(value, torch.optim.Optimizer) for value in values):
        return {}
    each = {id(value): value for value in values}.values()
    return {f"{SINGLE} {index}": value for index, value in enumerate(each)}


def as_named_optimizer_set(made: Any) -> OptimizerSet:
    """Return the optimizers in the mapping `made` from names; empty if it is something else."""
    if not isinstance(made, Mapping):
        return {}
    good = all(isinstance(key, str) and isinstance(value, torch.optim.Optimizer) for key, value in made.items())
    return dict(made) if good else {}


def rates_of(fleet: OptimizerSet) -> OptimizerRates:
    """Return the rate of every param group."""
    # A scheduler that was made for an optimizer keeps the rate before warm-up (which may start at 0) in `initial_lr`.
    return {
        name: [float(group.get("initial_lr", group["lr"])) for group in optimizer.param_groups]
        for name, optimizer in fleet.items()
    }


def probe_lr_scaling(
    build: Callable[[float], OptimizerSet], model: nn.Module
) -> tuple[OptimizerSet, OptimizerRates, OptimizerRates]:
    """Return what `build(lr)` gives for REFERENCE_LR, its rates, and those for twice that.

    That alone tells a group whose rate is a multiple of lr from one whose rate is fixed. Hooks that the other one left
    in the model's parameters are taken off again.
    """
    with hooks_taken_off(model.parameters()):
        doubled = rates_of(build(2 * REFERENCE_LR))
    fleet = build(REFERENCE_LR)
    return fleet, rates_of(fleet), doubled


def scales_with_lr(rates: list[float], doubled: list[float]) -> list[bool]:
    """Return, for each param group, whether its rate is a multiple of lr."""
    return [math.isclose(2 * rate, twice, rel_tol=_FOLLOWS) for rate, twice in zip(rates, doubled, strict=True)]


def largest_rate(rates: list[float], what: str, where: str) -> float:
    """Return the largest of the rates that were given; raise ModelFileError if it is no rate to go by."""
    largest = max(rates)
    if not (math.isfinite(largest) and largest > 0):
        raise ModelFileError(f"{where}: {what}'s rates are {rates}", hint="give at least one group a rate above 0")
    return largest


def describe_optimizer_set(made: Any) -> str:
    """Return what was given in place of optimizers, in a few words."""
    if isinstance(made, list | tuple | Mapping):
        inside = list(made.values()) if isinstance(made, Mapping) else list(made)
        wrong = [value for value in inside if not isinstance(value, torch.optim.Optimizer)]
        return f"{describe_value(made)} with {describe_value(wrong[0])} in it" if wrong else describe_value(made)
    return describe_value(made)
