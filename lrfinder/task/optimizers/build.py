"""Make the optimizer, with the ratio of each param group's rate to the rate that is swept."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from lrfinder.errors import ModelFileError, UsageError
from lrfinder.records import OptimizerFacts
from lrfinder.task.calling import user_call
from lrfinder.task.lightning import overrides, own_optimizer
from lrfinder.task.optimizers.by_name import named_optimizer
from lrfinder.task.optimizers.group_rates import (
    REFERENCE_LR,
    SINGLE,
    OptimizerRates,
    OptimizerSet,
    as_optimizer_set,
    describe_optimizer_set,
    largest_rate,
    probe_lr_scaling,
    rates_of,
    scales_with_lr,
)
from lrfinder.task.optimizers.several import make_parts
from lrfinder.task.problem import Problem, SweptOptimizer

_HINT = "write `def optimizer(params, lr): return torch.optim.SGD(params, lr=lr)`"

# Keys of a param group that say how torch computes the update, or hold bookkeeping, not what the update is.
_INTERNAL = frozenset({"params", "param_names", "lr", "initial_lr", "foreach", "fused", "capturable", "differentiable"})


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeOptimizer:
    """Optimizers, the one that is swept first. `chosen_by` is "model file", "option", "default", or its name."""

    parts: tuple[SweptOptimizer, ...]
    chosen_by: str

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The one that is swept, or the first of those that are."""
        return self.parts[0].optimizer

    @property
    def group_ratios(self) -> tuple[float, ...]:
        """Times the swept rate they are the rates of its param groups."""
        return self.parts[0].group_ratios or ()


def make_optimizer(problem: Problem, model: nn.Module) -> MadeOptimizer:
    """Return the optimizer of `model`, which is on its device already: the file's, else the named one, else AdamW.

    Ratios are rate / REFERENCE_LR for `optimizer(params, lr)`; for a live optimizer and for a LightningModule's, whose
    rates are fixed, they are rate / largest rate. A sequence or a mapping of optimizers in place of one is swept as if
    it were one. With `optimizers` see `make_parts`.

    Raises UsageError for an option that can't be followed, ModelFileError if no usable optimizer over the model's
    parameters comes.
    """
    given, where = problem.optimizer, problem.where
    own = overrides(model, "configure_optimizers")
    if given is not None or problem.optimizers is not None or own:
        _refuse_options(problem)
    if problem.optimizers is None:
        _refuse_choice(problem)
    chosen_by = "model file"
    if problem.optimizers is not None:
        parts = make_parts(problem, model)
        chosen_by = f"of {len(parts)}: {parts[0].name}"
    elif callable(given) and not isinstance(given, torch.optim.Optimizer):
        parts = _from_function(given, model, where)
    elif given is not None:
        parts = _to_largest(_checked(given, "optimizer is", where), where)
    elif own:
        parts = _to_largest({SINGLE: own_optimizer(model, where)}, where)
    else:
        options = problem.optimizer_options
        named = named_optimizer(problem.optimizer_name, list(model.parameters()), REFERENCE_LR, options)
        parts = (SweptOptimizer(name=SINGLE, optimizer=named, group_ratios=(1.0,) * len(named.param_groups)),)
        chosen_by = "default" if problem.optimizer_name is None else "option"
    _check_usable(parts, model, where)
    return MadeOptimizer(parts=parts, chosen_by=chosen_by)


def _from_function(function: Any, model: nn.Module, where: str) -> tuple[SweptOptimizer, ...]:
    fleet, rates, doubled = probe_lr_scaling(lambda lr: _call(function, model, lr, where), model)
    for name in fleet:
        follows = scales_with_lr(rates[name], doubled[name])
        if not all(follows):  # lr means nothing to that group: the rate that the sweep finds couldn't be used
            index = follows.index(False)
            of = "" if len(fleet) == 1 else f" of {name}"
            raise ModelFileError(
                f"{where}: optimizer(params, lr) gives param group {index}{of} the rate {rates[name][index]:g} for "
                f"lr = {REFERENCE_LR:g} and {doubled[name][index]:g} for lr = {2 * REFERENCE_LR:g}: it doesn't follow "
                "lr",
                hint="pass lr on, and write the rates of other groups as multiples of it, such as 0.1 * lr",
            )
    if not any(rate for each in rates.values() for rate in each):
        raise ModelFileError(f"{where}: every param group of the optimizer has the rate 0", hint=_HINT)
    return _parts(fleet, rates, REFERENCE_LR)


def _call(function: Any, model: nn.Module, lr: float, where: str) -> OptimizerSet:
    with user_call("calling optimizer(params, lr)"):
        # A list, not a generator, so that the function may go through the parameters twice to group them.
        made = function(list(model.parameters()), lr)
    return _checked(made, "optimizer(params, lr) returned", where)


def _checked(made: Any, what: str, where: str) -> OptimizerSet:
    fleet = as_optimizer_set(made)
    if not fleet:
        raise ModelFileError(f"{where}: {what} {describe_optimizer_set(made)}", hint=_HINT)
    return fleet


def _to_largest(fleet: OptimizerSet, where: str) -> tuple[SweptOptimizer, ...]:
    rates = rates_of(fleet)
    return _parts(
        fleet, rates, largest_rate([rate for each in rates.values() for rate in each], "the optimizer", where)
    )


def _parts(fleet: OptimizerSet, rates: OptimizerRates, reference: float) -> tuple[SweptOptimizer, ...]:
    return tuple(
        SweptOptimizer(name=name, optimizer=optimizer, group_ratios=tuple(rate / reference for rate in rates[name]))
        for name, optimizer in fleet.items()
    )


def _refuse_options(problem: Problem) -> None:
    given = [problem.optimizer_name] if problem.optimizer_name else list(problem.optimizer_options)
    if given:
        raise UsageError(
            f"{problem.where} has an optimizer of its own, and {given[0]!r} was asked for as an option",
            hint="remove one of the two",
        )


def _refuse_choice(problem: Problem) -> None:
    """Refuse to choose one of several optimizers if there is only one."""
    training = problem.training
    swept = training.swept_optimizer
    asked = f"swept_optimizer {swept!r}" if swept is not None else "scale_others"
    if swept is not None or training.scale_others:
        raise UsageError(
            f"{problem.where} has no `optimizers` by name, and {asked} was asked for", hint="leave the option out"
        )


def _check_usable(parts: tuple[SweptOptimizer, ...], model: nn.Module, where: str) -> None:
    trainable = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    for part in parts:
        if not any(id(p) in trainable for group in part.optimizer.param_groups for p in group["params"]):
            what = f"the {SINGLE}" if part.name == SINGLE else f"optimizer {part.name!r}"
            raise ModelFileError(
                f"{where}: {what} holds none of the model's trainable parameters: it was made for other ones",
                hint="in optimizer(params, lr), use the params that are passed in",
            )


def optimizer_facts(parts: Sequence[SweptOptimizer], chosen_by: str) -> OptimizerFacts:
    """Return what is recorded of the optimizers that are swept.

    Of the first one the settings of its first param group, and its default rate; of all of them the classes and ratios.
    """
    optimizer = parts[0].optimizer
    swept = [part for part in parts if part.group_ratios is not None]
    settings = {}
    for key, value in optimizer.param_groups[0].items():
        if key not in _INTERNAL:
            plain = _plain(value)
            if isinstance(plain, bool | int | float | str | tuple) or plain is None:
                settings[key] = plain
    return OptimizerFacts(
        name=" + ".join(dict.fromkeys(type(part.optimizer).__name__ for part in swept)),
        settings=settings,
        group_ratios=tuple(ratio for part in swept for ratio in part.group_ratios or ()),
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
