"""Make the optimizer, and compute the ratio of each param group's rate to the swept rate."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from lrfinder.errors import CONTROL, ModelFileError, UsageError
from lrfinder.optimizers import NO_SETTINGS, SEVERAL, class_name, default_of, is_value
from lrfinder.records import OptimizerFacts
from lrfinder.task.calling import accepts_args, user_call
from lrfinder.task.lightning import overrides, own_optimizer
from lrfinder.task.optimizers.by_name import named_optimizer
from lrfinder.task.optimizers.group_rates import (
    REFERENCE_LR,
    SINGLE,
    OptimizerRates,
    OptimizerSet,
    as_optimizer_set,
    check_rates,
    describe_optimizer_set,
    largest_rate,
    probe_lr_scaling,
    rates_of,
    scales_with_lr,
)
from lrfinder.task.optimizers.several import make_parts
from lrfinder.task.problem import Problem, SweptOptimizer

_LOADED = "; load_state_dict brings the rate of its checkpoint: set group['lr'] = lr of each group after it"
_HINT = "write `def optimizer(params, lr): return torch.optim.SGD(params, lr=lr)`"

# What torch's OneCycleLR, CyclicLR and SWALR keep of theirs in a param group: no optimizer takes it.
_OF_SCHEDULERS = frozenset({"max_lr", "min_lr", "max_momentum", "base_momentum", "swa_lr"})
_LONGEST = 1000  # characters or numbers of a setting; what is longer is data, not a setting


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeOptimizer:
    """The optimizers of one repeat; in `parts`, a swept one comes first.

    `chosen_by` says who chose it: "model file", "option" or "default". If the model file has `optimizers`, it is
    "of N: NAME", the number of optimizers and the name of the first.
    """

    parts: tuple[SweptOptimizer, ...]
    chosen_by: str
    own_lr: float | None = None  # the swept rate that the user's code itself gives it; None: it gives none

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The swept optimizer, or the first one if several are swept."""
        return self.parts[0].optimizer

    @property
    def group_ratios(self) -> tuple[float, ...]:
        """The ratio of each param group's rate of `optimizer` to the swept rate: `rate of group i / swept rate`."""
        return self.parts[0].group_ratios or ()


def make_optimizer(problem: Problem, model: nn.Module, beside: Sequence[nn.Parameter] = ()) -> MadeOptimizer:
    """Return the optimizers of `model`, which must be on its device already, and of the weights `beside` it.

    The first of these that exists is used: `optimizers` of the model file (see `make_parts`), `optimizer` of the
    model file, the LightningModule's own, the class that the user named as an option, AdamW.

    The ratios are rate / REFERENCE_LR for a function `optimizer(params, lr)`. A live optimizer and that of a
    LightningModule have fixed rates; their ratios are rate / largest rate. If `optimizer` is or returns a sequence or
    a mapping of optimizers, they are swept as if they were one.

    Raises UsageError if an option doesn't fit the model file. Raises ModelFileError if there is no usable optimizer, or
    if an optimizer holds none of the model's trainable parameters.
    """
    given, where = problem.optimizer, problem.where
    own = overrides(model, "configure_optimizers")
    if given is not None or problem.optimizers is not None or own:
        _refuse_options(problem)
    if problem.optimizers is None:
        _refuse_choice(problem)
    chosen_by, makes = "model file", given if problem.optimizers is None else problem.optimizers
    if problem.optimizers is not None:
        parts = make_parts(problem, model)
        chosen_by = f"of {len(parts)}: {parts[0].name}"
    elif callable(given) and not isinstance(given, torch.optim.Optimizer):
        parts = _from_function(given, model, [*model.parameters(), *beside], where)
    elif given is not None:
        parts = _to_largest(_checked(given, "optimizer is", where), where)
    elif own:
        parts = _to_largest(_checked(own_optimizer(model, where), "configure_optimizers() returned", where), where)
    else:
        options = problem.optimizer_options
        named = named_optimizer(problem.optimizer_name, [*model.parameters(), *beside], REFERENCE_LR, options)
        parts = (SweptOptimizer(name=SINGLE, optimizer=named, group_ratios=(1.0,) * len(named.param_groups)),)
        chosen_by = "default" if problem.optimizer_name is None else "option"
    _check_usable(parts, model, where)
    _check_beside(parts, problem, beside)
    own_lr = None if makes is None and not own else _own_lr(makes, parts)
    return MadeOptimizer(parts=parts, chosen_by=chosen_by, own_lr=own_lr)


def _own_lr(makes: Any, parts: tuple[SweptOptimizer, ...]) -> float | None:
    """Return the swept rate that the user's code gives by itself, None without one; `makes` is what gives the parts.

    That is the default of a function's `lr`, if it takes one; else the largest rate of the swept optimizers, which a
    scheduler that warms up keeps in its groups.
    """
    if callable(makes) and accepts_args(makes, 2):
        parameters = inspect.signature(makes).parameters.values() if inspect.isfunction(makes) else ()
        lr = next((second.default for second in itertools.islice(parameters, 1, 2)), None)  # `*args` has no second one
        return float(lr) if isinstance(lr, int | float) and 0 < lr < math.inf else None
    groups = [group for part in parts if part.group_ratios is not None for group in part.optimizer.param_groups]
    peaks = [float(group.get(key) or 0.0) for group in groups for key in ("lr", "initial_lr", "max_lr")]
    return max(peaks) if 0 < max(peaks) < math.inf else None


def _from_function(
    function: Any, model: nn.Module, params: Sequence[nn.Parameter], where: str
) -> tuple[SweptOptimizer, ...]:
    fleet, rates, doubled = probe_lr_scaling(lambda lr: _call(function, params, lr, where), model)
    for name in fleet:
        follows = scales_with_lr(rates[name], doubled[name])
        if not all(follows):  # the group ignores lr, so the rate that the sweep finds couldn't be used
            index = follows.index(False)
            of = "" if len(fleet) == 1 else f" of {name}"
            raise ModelFileError(
                f"{where}: optimizer(params, lr) gives param group {index}{of} the rate {rates[name][index]:g} for "
                f"lr = {REFERENCE_LR:g} and {doubled[name][index]:g} for lr = {2 * REFERENCE_LR:g}: it doesn't follow "
                "lr",
                hint="pass lr on, and write the rates of other groups as multiples of it, such as 0.1 * lr"
                + (_LOADED if fleet[name].state else ""),
            )
    if not any(rate for each in rates.values() for rate in each):
        raise ModelFileError(f"{where}: every param group of the optimizer has the rate 0", hint=_HINT)
    return _parts(fleet, rates, REFERENCE_LR)


def _call(function: Any, params: Sequence[nn.Parameter], lr: float, where: str) -> OptimizerSet:
    with user_call("calling optimizer(params, lr)"):
        # A list, not a generator: the function may iterate over the parameters twice to group them.
        made = function(list(params), lr)
    return _checked(made, "optimizer(params, lr) returned", where)


def _checked(made: Any, what: str, where: str) -> OptimizerSet:
    fleet = as_optimizer_set(made)
    if not fleet:
        raise ModelFileError(f"{where}: {what} {describe_optimizer_set(made)}", hint=_HINT)
    check_rates(fleet, where)
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
    """Raise UsageError if an option chooses among `optimizers`, which this model file doesn't have."""
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
        if part.group_ratios is not None and any(group.get("maximize") for group in part.optimizer.param_groups):
            raise ModelFileError(
                f"{where}: {type(part.optimizer).__name__} maximizes (maximize=True), and a sweep wants a falling loss",
                hint="leave maximize out, and return the loss with the other sign",
            )
        climbing = next((index for index, ratio in enumerate(part.group_ratios or ()) if ratio < 0), None)
        if climbing is not None:
            raise ModelFileError(
                f"{where}: param group {climbing} of {type(part.optimizer).__name__} has a rate below 0: it makes the "
                "loss rise, and a sweep wants a falling one",
                hint="give the group a rate above 0, and turn the sign of its gradients: "
                "weight.register_hook(lambda grad: -grad)",
            )
        if not any(id(p) in trainable for group in part.optimizer.param_groups for p in group["params"]):
            what = f"the {SINGLE}" if part.name == SINGLE else f"optimizer {part.name!r}"
            raise ModelFileError(
                f"{where}: {what} holds none of the model's trainable parameters: it was made for other ones",
                hint="in optimizer(params, lr), use the params that are passed in",
            )


def _check_beside(parts: tuple[SweptOptimizer, ...], problem: Problem, beside: Sequence[nn.Parameter]) -> None:
    """Raise ModelFileError if a function of the file makes an optimizer without the weights `beside` the model."""
    if isinstance(problem.optimizers, Mapping) or as_optimizer_set(problem.optimizer):
        return  # live: what it doesn't hold, the user doesn't train either
    held = {id(weight) for part in parts for group in part.optimizer.param_groups for weight in group["params"]}
    missing = sum(weight.numel() for weight in beside if id(weight) not in held)
    if missing:
        raise ModelFileError(
            f"{problem.where}: loss_fn has {missing} trainable weights that the optimizer doesn't hold",
            hint="make an optimizer of all the params that are passed in; or keep the loss in the model, which trains "
            "it; or loss_fn.requires_grad_(False)",
        )


def optimizer_facts(parts: Sequence[SweptOptimizer], chosen_by: str, own_lr: float | None = None) -> OptimizerFacts:
    """Return the facts that a run records about its swept optimizers.

    They are the classes and the group ratios of all swept optimizers, and, of the first optimizer only, the settings
    of its first param group and the default rate of its class.
    """
    optimizer = parts[0].optimizer
    swept = [part for part in parts if part.group_ratios is not None]
    settings = {}
    given: Mapping[Any, Any] = optimizer.param_groups[0]
    for key, value in given.items():
        if isinstance(key, str) and key not in NO_SETTINGS and (key in optimizer.defaults or key not in _OF_SCHEDULERS):
            try:
                plain = _plain(value)
            except RecursionError:  # a list that holds itself, say: no record can
                continue
            if isinstance(plain, str) and plain != value and _is_default(type(optimizer), key, value):
                continue  # only text could stand for it, as for Adafactor's eps of (None, 0.001), and nobody chose it
            if plain is None or (is_value(plain) and not _unreadable(plain)):
                settings[key] = plain
    return OptimizerFacts(
        name=SEVERAL.join(dict.fromkeys(class_name(part.optimizer) for part in swept)),
        settings=settings,
        group_ratios=tuple(ratio for part in swept for ratio in part.group_ratios or ()),
        default_lr=_default_lr(type(optimizer)),
        own_lr=own_lr,
        chosen_by=chosen_by,
    )


def _unreadable(value: Any) -> bool:
    """Tell whether a setting is too long for a record, or a text that readers of one refuse."""
    long = isinstance(value, str | tuple) and len(value) > _LONGEST
    return long or (isinstance(value, str) and CONTROL.search(value) is not None)


def _plain(value: Any) -> Any:
    """Convert a setting for a stored record.

    A tensor with one value becomes a float, and a sequence of numbers a tuple of floats. Other tensors and sequences
    become text. Any other value stays as it is.
    """
    if isinstance(value, torch.Tensor):
        return float(value) if value.numel() == 1 else str(value.tolist())
    if isinstance(value, list | tuple):
        items = [_plain(item) for item in value]
        return tuple(float(item) for item in items) if all(isinstance(i, int | float) for i in items) else str(value)
    return value


def _is_default(kind: type[torch.optim.Optimizer], key: str, value: Any) -> bool:
    """Tell whether a list or tuple is what the class takes if `key` isn't given."""
    return isinstance(value, list | tuple) and default_of(kind, key) == value


def _default_lr(kind: type[torch.optim.Optimizer]) -> float | None:
    default = default_of(kind, "lr")
    return float(default) if isinstance(default, int | float | torch.Tensor) else None
