"""Build the model, the optimizer, the loader and the loss that one repeat of a sweep needs."""

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
    """Build everything that one repeat needs. The caller seeds the random generators first.

    Functions and classes of the model file are called again for each repeat; live objects are used as they are.

    `place(model)` returns the model on its device. It is called before the optimizer is made, because the optimizer
    must hold the parameters that it will update. `place` moves a live model too; the caller must remember on which
    device that model was.

    Raises UsageError, ModelFileError, and any exception of the user's code.
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
