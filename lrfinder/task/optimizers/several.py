"""Make several named optimizers, such as those of a generator and a discriminator. One of them is swept."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from lrfinder.errors import ModelFileError, UsageError
from lrfinder.task.calling import accepts_args, user_call
from lrfinder.task.optimizers.group_rates import (
    REFERENCE_LR,
    OptimizerRates,
    OptimizerSet,
    as_named_optimizer_set,
    check_rates,
    describe_optimizer_set,
    largest_rate,
    probe_lr_scaling,
    rates_of,
    scales_with_lr,
)
from lrfinder.task.problem import Problem, SweptOptimizer

HINT = (
    "write `def optimizers(model, lr): return {'generator': torch.optim.Adam(model.generator.parameters(), lr=lr), "
    "'discriminator': torch.optim.Adam(model.discriminator.parameters(), lr=4e-4)}`"
)
_HOLD = "write its rate as a number to hold it, or scale it too: --scale-others"


def make_parts(problem: Problem, model: nn.Module) -> tuple[SweptOptimizer, ...]:
    """Return the optimizers of `model`. The swept one comes first.

    `problem.training.swept_optimizer` is the name of the swept one; None takes the only possible one. The others keep
    their rates, unless `problem.training.scale_others` is set: then their rates keep their ratio to the swept rate.

    `problem.optimizers` is a mapping from names to optimizers, or a function that returns such a mapping. The function
    gets the model, or, if the name of its first parameter starts with `param`, a list of the model's parameters. If it
    takes `lr` as second argument, the swept rate is lr, and rates that aren't multiples of lr stay fixed. If it takes
    no `lr`, or if `optimizers` is a mapping, the swept rate is the largest rate of the swept optimizer.

    Raises UsageError if it isn't clear which optimizer is swept, or if the rate of another one follows lr without
    `scale_others`. Raises ModelFileError if the mapping or its rates can't be used.
    """
    given = problem.optimizers
    if isinstance(given, Mapping):
        fleet = _checked(given, problem.where)
        return _by_own_rates(problem, fleet, rates_of(fleet))
    if not callable(given):
        raise ModelFileError(f"{problem.where}: optimizers is {describe_optimizer_set(given)}", hint=HINT)
    first = next(iter(inspect.signature(given).parameters), "")
    argument = list(model.parameters()) if first.startswith("param") else model
    if not accepts_args(given, 2):
        fleet = _checked(_call(given, argument), problem.where)
        return _by_own_rates(problem, fleet, rates_of(fleet))
    fleet, rates, doubled = probe_lr_scaling(lambda lr: _checked(_call(given, argument, lr), problem.where), model)
    return _by_lr(problem, fleet, rates, doubled)


def _by_own_rates(problem: Problem, fleet: OptimizerSet, rates: OptimizerRates) -> tuple[SweptOptimizer, ...]:
    """Return the parts if all rates are fixed numbers: the swept rate is the largest rate of the swept optimizer."""
    swept = _swept(problem, fleet, list(fleet))
    largest = largest_rate(rates[swept], f"optimizer {swept!r}", problem.where)
    followers = fleet if problem.training.scale_others else {swept}
    return _parts(fleet, swept, {name: tuple(rate / largest for rate in rates[name]) for name in followers})


def _by_lr(
    problem: Problem, fleet: OptimizerSet, rates: OptimizerRates, doubled: OptimizerRates
) -> tuple[SweptOptimizer, ...]:
    """Return the parts if the function takes `lr`: each rate is a multiple of lr, or stays fixed."""
    follows = {name: scales_with_lr(rates[name], doubled[name]) for name in fleet}
    moving = [name for name in fleet if all(follows[name]) and any(rates[name])]
    swept = _swept(problem, fleet, moving or list(fleet))
    for name in fleet:
        if (name == swept or problem.training.scale_others) and name not in moving:
            raise ModelFileError(
                f"{problem.where}: the rate of optimizer {name!r} doesn't follow lr: its groups have {rates[name]} for "
                f"lr = {REFERENCE_LR:g} and {doubled[name]} for lr = {2 * REFERENCE_LR:g}",
                hint="pass lr on to it, or write `def optimizers(model)` with every rate as a number",
            )
        some = [rate for rate, follow in zip(rates[name], follows[name], strict=True) if follow]
        if name not in moving and any(some):
            raise ModelFileError(f"{problem.where}: the rate of some groups of {name!r} follows lr", hint=_HOLD)
    others = [name for name in moving if name != swept]
    if others and not problem.training.scale_others:
        raise UsageError(
            f"{problem.where}: {swept!r} is swept, and the rate of optimizer {others[0]!r} follows lr too", hint=_HOLD
        )
    return _parts(fleet, swept, {name: tuple(rate / REFERENCE_LR for rate in rates[name]) for name in (swept, *others)})


def _parts(fleet: OptimizerSet, swept: str, ratios: Mapping[str, tuple[float, ...]]) -> tuple[SweptOptimizer, ...]:
    names = (swept, *(name for name in fleet if name != swept))
    return tuple(SweptOptimizer(name=name, optimizer=fleet[name], group_ratios=ratios.get(name)) for name in names)


def _swept(problem: Problem, fleet: OptimizerSet, candidates: list[str]) -> str:
    """Return the name of the swept optimizer: the one that the user asked for, else the only candidate."""
    asked = problem.training.swept_optimizer
    if asked is None and len(candidates) == 1:
        return candidates[0]
    choices = f"choose one: {', '.join(f'--sweep-optimizer {name}' for name in candidates)}"
    if asked is None:
        raise UsageError(f"{problem.where} has {len(candidates)} optimizers whose rate could be swept", hint=choices)
    if asked not in fleet:
        raise UsageError(f"{problem.where} has no optimizer {asked!r} to sweep", hint=choices)
    return asked


def _checked(made: Any, where: str) -> OptimizerSet:
    fleet = as_named_optimizer_set(made)
    if not fleet:
        raise ModelFileError(
            f"{where}: optimizers is {describe_optimizer_set(made)}, not a mapping from names to optimizers", hint=HINT
        )
    check_rates(fleet, where)
    return fleet


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    passed = "model, lr" if len(arguments) > 1 else "model"
    with user_call(f"calling optimizers({passed})"):
        return function(*arguments)
