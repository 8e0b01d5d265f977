"""Make the model, and refuse a model that can't be trained."""

from __future__ import annotations

from torch import nn
from torch.nn.parameter import is_lazy

from lrfinder.errors import ModelFileError
from lrfinder.task.calling import describe_value, required_arguments, user_call
from lrfinder.task.lightning import is_lightning_module, set_up
from lrfinder.task.problem import Problem


def make_model(problem: Problem) -> nn.Module:
    """Return the model: the live one, or a new one with new initial weights. The caller seeds the generators first.

    A LightningModule is set up as a Trainer would do it. Raises ModelFileError if the result isn't a module that can
    be trained.
    """
    model = problem.model
    if not isinstance(model, nn.Module):
        needed = required_arguments(model)
        if needed:
            raise ModelFileError(
                f"{problem.where}: model needs arguments ({', '.join(needed)})",
                hint="give them defaults, or write `def model(): return Net(...)`",
            )
        with user_call("calling model()"):
            model = model()
    if not isinstance(model, nn.Module):
        raise ModelFileError(
            f"{problem.where}: model() returned {describe_value(model)}", hint="return a torch.nn.Module"
        )
    if is_lightning_module(model):
        set_up(model)
    _check_trainable(model, problem.where)
    return model


def _check_trainable(model: nn.Module, where: str) -> None:
    parameters = list(model.parameters())
    if any(is_lazy(parameter) for parameter in parameters):
        raise ModelFileError(
            f"{where}: {type(model).__name__} has lazy layers whose weights don't exist yet",
            hint="pass one batch through the model in model(), before it is returned",
        )
    if not any(parameter.requires_grad for parameter in parameters):
        found = "all its parameters are frozen" if parameters else "it has no parameters"
        raise ModelFileError(
            f"{where}: {type(model).__name__} can't be trained: {found}",
            hint="the model needs parameters with requires_grad=True",
        )
