"""Make the optimizer, with the ratio of each param group's rate to the rate that is swept."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from lrfinder.errors import ModelFileError, UsageError
from lrfinder.records import OptimizerFacts
from lrfinder.task.calling import described, running
from lrfinder.task.lightning import overrides, own_optimizer
from lrfinder.task.named_optimizer import named_optimizer, needs_closure
from lrfinder.task.problem import Problem

# The rate that `optimizer(params, lr)` is built with; the sweep then sets its own. Every class in torch.optim takes it
# (it is the default of Adam, SGD and RMSprop among them), and it has no other effect.
REFERENCE_LR = 1e-3

# How far a group's rate may be from following `lr` exactly: users multiply rates in float64, tensors hold float32.
_FOLLOWS = 1e-5

_HINT = "write `def optimizer(params, lr): return torch.optim.SGD(params, lr=lr)`"

# Keys of a param group that say how torch computes the update, or hold bookkeeping, not what the update is.
_INTERNAL = frozenset({"params", "param_names", "lr", "initial_lr", "foreach", "fused", "capturable", "differentiable"})


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeOptimizer:
    """An optimizer; `group_ratios[i]` times the swept rate is the rate of its param group i.

    `chosen_by` is "model file", "option" or "default".
    """

    optimizer: torch.optim.Optimizer
    group_ratios: tuple[float, ...]
    chosen_by: str


def make_optimizer(problem: Problem, model: nn.Module) -> MadeOptimizer:
    """Return the optimizer of `model`, which is on its device already: the file's, else the named one, else AdamW.

    Ratios are rate / REFERENCE_LR for `optimizer(params, lr)`; for a live optimizer and for a LightningModule's, whose
    rates are fixed, they are rate / largest rate.

    Raises UsageError for an option that can't be followed, ModelFileError where no usable optimizer over the model's
    parameters comes.
    """
    given = problem.optimizer
    where = problem.where
    if given is not None or overrides(model, "configure_optimizers"):
        _refuse_options(problem)
    if isinstance(given, torch.optim.Optimizer):
        made = MadeOptimizer(optimizer=given, group_ratios=_ratios_to_largest(given, where), chosen_by="model file")
    elif given is not None:
        made = _from_function(given, model, where)
    elif overrides(model, "configure_optimizers"):
        own = own_optimizer(model, where)
        made = MadeOptimizer(optimizer=own, group_ratios=_ratios_to_largest(own, where), chosen_by="model file")
    else:
        named = named_optimizer(
            problem.optimizer_name, list(model.parameters()), REFERENCE_LR, problem.optimizer_options
        )
        chosen_by = "default" if problem.optimizer_name is None else "option"
        made = MadeOptimizer(optimizer=named, group_ratios=(1.0,) * len(named.param_groups), chosen_by=chosen_by)
    _check_usable(made.optimizer, model, where)
    return made


def _from_function(function: Any, model: nn.Module, where: str) -> MadeOptimizer:
    # Built twice, at two rates: that alone tells a group whose rate is a multiple of lr from one whose rate is fixed
    # (then lr means nothing, and the rate that the sweep finds couldn't be used). The second one is kept.
    doubled = _group_rates(_call(function, model, 2 * REFERENCE_LR, where))
    optimizer = _call(function, model, REFERENCE_LR, where)
    rates = _group_rates(optimizer)
    for index, (rate, twice) in enumerate(zip(rates, doubled, strict=True)):
        if not math.isclose(2 * rate, twice, rel_tol=_FOLLOWS):
            raise ModelFileError(
                f"{where}: optimizer(params, lr) gives param group {index} the rate {rate:g} for lr = {REFERENCE_LR:g} "
                f"and {twice:g} for lr = {2 * REFERENCE_LR:g}: it doesn't follow lr",
                hint="pass lr on, and write the rates of other groups as multiples of it, such as 0.1 * lr",
            )
    if not any(rates):
        raise ModelFileError(f"{where}: every param group of the optimizer has the rate 0", hint=_HINT)
    ratios = tuple(rate / REFERENCE_LR for rate in rates)
    return MadeOptimizer(optimizer=optimizer, group_ratios=ratios, chosen_by="model file")


def _call(function: Any, model: nn.Module, lr: float, where: str) -> torch.optim.Optimizer:
    with running("calling optimizer(params, lr)"):
        # A list, not a generator, so that the function may go through the parameters twice to group them.
        made = function(list(model.parameters()), lr)
    if not isinstance(made, torch.optim.Optimizer):
        raise ModelFileError(f"{where}: optimizer(params, lr) returned {described(made)}", hint=_HINT)
    return made


def _group_rates(optimizer: torch.optim.Optimizer) -> list[float]:
    # A scheduler that was made for the optimizer keeps the rate before warm-up (which may start at 0) in `initial_lr`.
    return [float(group.get("initial_lr", group["lr"])) for group in optimizer.param_groups]


def _ratios_to_largest(optimizer: torch.optim.Optimizer, where: str) -> tuple[float, ...]:
    rates = _group_rates(optimizer)
    largest = max(rates)
    if not (math.isfinite(largest) and largest > 0):
        raise ModelFileError(
            f"{where}: the optimizer's rates are {rates}", hint="give at least one group a rate above 0"
        )
    return tuple(rate / largest for rate in rates)


def _refuse_options(problem: Problem) -> None:
    given = [problem.optimizer_name] if problem.optimizer_name else list(problem.optimizer_options)
    if given:
        raise UsageError(
            f"{problem.where} has an optimizer of its own, and {given[0]!r} was asked for as an option",
            hint="remove one of the two",
        )


def _check_usable(optimizer: torch.optim.Optimizer, model: nn.Module, where: str) -> None:
    if needs_closure(type(optimizer)):
        raise ModelFileError(
            f"{where}: {type(optimizer).__name__} evaluates the loss several times an update (its step needs a "
            "closure); a sweep can't drive it yet",
            hint="choose an optimizer whose step() needs no closure, such as AdamW or SGD",
        )
    trainable = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    if not any(id(parameter) in trainable for group in optimizer.param_groups for parameter in group["params"]):
        raise ModelFileError(
            f"{where}: the optimizer holds none of the model's trainable parameters: it was made for other ones",
            hint="in optimizer(params, lr), use the params that are passed in",
        )


def optimizer_facts(
    optimizer: torch.optim.Optimizer, group_ratios: tuple[float, ...], chosen_by: str
) -> OptimizerFacts:
    """Return what is recorded of an optimizer: its class, the settings of its first param group, its default rate."""
    settings = {}
    for key, value in optimizer.param_groups[0].items():
        if key not in _INTERNAL:
            plain = _plain(value)
            if isinstance(plain, bool | int | float | str | tuple) or plain is None:
                settings[key] = plain
    return OptimizerFacts(
        name=type(optimizer).__name__,
        settings=settings,
        group_ratios=group_ratios,
        default_lr=_default_lr(type(optimizer)),
        chosen_by=chosen_by,
    )


def _plain(value: Any) -> Any:
    """Return a setting as a stored record holds it: tensors of one value as numbers, sequences as tuples of floats."""
    if isinstance(value, torch.Tensor):
        return float(value) if value.numel() == 1 else str(value.tolist())
    if isinstance(value, list | tuple):
        items = [_plain(item) for item in value]
        return tuple(float(item) for item in items) if all(isinstance(i, int | float) for i in items) else str(value)
    return value


def _default_lr(kind: type[torch.optim.Optimizer]) -> float | None:
    parameter = inspect.signature(kind).parameters.get("lr")
    default = None if parameter is None else parameter.default
    return float(default) if isinstance(default, int | float | torch.Tensor) else None
