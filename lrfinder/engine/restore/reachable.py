"""Which of the user's objects a sweep may change: the given ones, and those that given functions refer to."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn

from lrfinder.engine.restore.containers import is_container
from lrfinder.engine.runtime.rng import is_generator
from lrfinder.task.problem import Problem

_LIVE = nn.Module | torch.optim.Optimizer


def reachable_state(problem: Problem) -> list[Any]:
    """Return the modules, optimizers and generators that training `problem` may change.

    They are objects that the user gave (not functions that make them), and objects that loss_fn and training_step
    refer to: an averaged copy of the weights, a teacher, attributes of a bound method's object. Nothing else that those
    hold is searched: it may be the whole data set.
    """
    found = [value for value in (problem.model, problem.optimizer, problem.optimizers) if _is_live(value)]
    for function in (problem.loss_fn, problem.training_step):
        found += [function] if _is_live(function) else _referenced_by(function)
    return found


def base_weights(roots: Iterable[Any]) -> list[nn.Parameter]:
    """Return the frozen weights of the models of PEFT among `roots`, and of those that transformers gave adapters."""
    modules = [module for root in roots if isinstance(root, nn.Module) for module in root.modules()]
    adapted = [module for module in modules if getattr(module, "peft_config", None)]
    return [weight for module in adapted for weight in module.parameters() if not weight.requires_grad]


def state_beside(problem: Problem) -> tuple[Any, ...]:
    """Return the modules and generators, other than the model, that computing the loss may change."""
    return tuple(
        value
        for value in reachable_state(problem)
        if value is not problem.model and (isinstance(value, nn.Module) or is_generator(value))
    )


def _referenced_by(function: Any) -> Iterator[Any]:
    """Yield the live objects that `function` refers to: its arguments, its owner, its closure and its globals.

    Of a decorated function also those of the function itself, which `functools.wraps` notes.
    """
    wrapped = getattr(function, "__dict__", {}).get("__wrapped__")
    if wrapped is not None:
        yield from _referenced_by(wrapped)
    if isinstance(function, functools.partial):
        for value in (function.func, *function.args, *function.keywords.values()):
            yield from (value,) if _keeps_state(value) else _referenced_by(value)
    elif inspect.ismethod(function):
        owner = function.__self__
        yield from (owner,) if _is_live(owner) else _attributes_of(owner)
        yield from _referenced_by(function.__func__)
    elif inspect.isfunction(function):
        code, cells = function.__code__, function.__closure__ or ()
        values = [cell.cell_contents for cell in cells if _is_filled(cell)]
        values += [function.__globals__.get(name) for name in _names_in(code)]
        values += [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
        yield from (value for value in values if _keeps_state(value))
    elif callable(function) and not inspect.isclass(function):
        yield from _attributes_of(function)


def _names_in(code: types.CodeType) -> Iterator[str]:
    """Yield the names that `code` looks up, and those of the functions and comprehensions within it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names_in(constant)


def _attributes_of(owner: Any) -> Iterator[Any]:
    """Yield what an object of the user's own class holds, except plain values such as counters and lists."""
    attributes = getattr(owner, "__dict__", None)
    if isinstance(attributes, dict):
        yield from (value for value in attributes.values() if _keeps_state(value))


def _is_live(value: object) -> bool:
    return isinstance(value, _LIVE) or is_container(value)


def _keeps_state(value: object) -> bool:
    return isinstance(value, _LIVE) or is_generator(value)


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # a variable that isn't assigned yet
        return False
