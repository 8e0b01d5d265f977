"""Make the model, and refuse a model that can't be trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from lrfinder.errors import ModelFileError
from lrfinder.task.calling import describe_value, names_parameter, required_arguments, user_call
from lrfinder.task.lightning import is_lightning_module, set_up
from lrfinder.task.problem import Problem

_MESH = "mesh"  # the parameter of a model() that divides its weights itself


def make_model(problem: Problem, mesh: Callable[[], Any] | None = None) -> nn.Module:
    """Return the model: the live one, or a new one with new initial weights. The caller seeds the generators first.

    A model() with the parameter `mesh` gets what `mesh()` returns, if this is one of several processes. A
    LightningModule is set up as a Trainer would do it. Lazy layers have no weights yet. Raises ModelFileError if the
    result isn't a module that can be trained.
    """
    model = problem.model
    if not isinstance(model, nn.Module):
        divides = names_parameter(model, _MESH)
        needed = [name for name in required_arguments(model) if name != _MESH or mesh is None]
        if needed == [_MESH]:
            raise ModelFileError(
                f"{problem.where}: model(mesh) divides its weights over processes, and this is one by itself",
                hint="train in several: --nproc N",
            )
        if needed:
            raise ModelFileError(
                f"{problem.where}: model needs arguments ({', '.join(needed)})",
                hint="give them defaults, or write `def model(): return Net(...)`",
            )
        with user_call("calling model()"):
            given: dict[str, Any] = {_MESH: mesh()} if divides and mesh is not None else {}
            model = model(**given)
    if not isinstance(model, nn.Module):
        raise ModelFileError(
            f"{problem.where}: model() returned {describe_value(model)}", hint="return a torch.nn.Module"
        )
    if is_lightning_module(model):
        set_up(model)
    parts = cast("Iterable[object]", model.parameters())  # the user may have a method of that name
    odd = next((part for part in parts if not isinstance(part, torch.Tensor)), None)
    if odd is not None:
        raise ModelFileError(
            f"{problem.where}: parameters() of {type(model).__name__} gives {describe_value(odd)}, not weights",
            hint="leave parameters() as nn.Module has it, and make param groups in optimizer(params, lr)",
        )
    if any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers())):
        raise ModelFileError(
            f"{problem.where}: {type(model).__name__} has weights on the meta device, which has no numbers",
            hint="model.to_empty(device='cpu'), then initialise them, before model() returns it",
        )
    if not any(map(is_lazy, model.parameters())):
        check_trainable(model, problem.where)
    return model


def lazy_layers(where: str, model: nn.Module) -> ModelFileError:
    """Return the error of a model whose lazy layers no batch has given a shape."""
    return ModelFileError(
        f"{where}: {type(model).__name__} has lazy layers whose weights don't exist yet",
        hint="pass one batch through the model in model(), before it is returned",
    )


def check_trainable(model: nn.Module, where: str) -> None:
    """Raise ModelFileError unless the model has weights, all of them real, and one that can be trained."""
    parameters = list(model.parameters())
    if any(map(is_lazy, parameters)):
        raise lazy_layers(where, model)
    if not any(parameter.requires_grad for parameter in parameters):
        found = "all its parameters are frozen" if parameters else "it has no parameters"
        raise ModelFileError(
            f"{where}: {type(model).__name__} can't be trained: {found}",
            hint="the model needs parameters with requires_grad=True",
        )
