"""Make everything that one repeat of a sweep needs."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from lrfinder.task.loader import make_loader
from lrfinder.task.loss import make_loss
from lrfinder.task.model import make_model
from lrfinder.task.named_losses import NamedLosses
from lrfinder.task.optimizers.build import make_optimizer
from lrfinder.task.problem import BuiltProblem, Problem


def build_trial(problem: Problem, *, place: Callable[[nn.Module], nn.Module]) -> BuiltProblem:
    """Return a new problem: callables are called again, live objects are used as they are. The caller seeds before.

    `place(model)` returns the model on its device. It is called between model and optimizer, since an optimizer must
    see the parameters that it will change; remembering where a live model was is the caller's job.

    Raises UsageError, ModelFileError, and whatever the user's code raises.
    """
    model = place(make_model(problem))
    made = make_optimizer(problem, model)
    loader = make_loader(problem, model)
    loss = make_loss(problem, model)
    named = None if problem.optimizers is None else NamedLosses(loss, made.parts, problem.where)
    return BuiltProblem(
        model=model,
        optimizer=made.optimizer,
        group_ratios=made.group_ratios,
        loader=loader,
        loss=loss if named is None else named.swept,
        loss_note=loss.note,
        optimizer_note=made.chosen_by,
        name=made.parts[0].name,
        others=made.parts[1:],
        named_losses=named,
    )
