"""Build the model, the optimizer, the loader and the loss that one repeat of a sweep needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from lrfinder.errors import user_code
from lrfinder.task.batches import to_device
from lrfinder.task.checkpoint.begin import load_optimizer, load_weights
from lrfinder.task.loader import make_loader
from lrfinder.task.loss import make_loss
from lrfinder.task.model import check_trainable, lazy_layers, make_model
from lrfinder.task.named_losses import NamedLosses
from lrfinder.task.optimizers.build import make_optimizer
from lrfinder.task.problem import BuiltProblem, Problem


def build_trial(
    problem: Problem, *, place: Callable[[nn.Module], nn.Module], mesh: Callable[[], Any] | None = None
) -> BuiltProblem:
    """Build everything that one repeat needs. The caller seeds the random generators first.

    Functions and classes of the model file are called again for each repeat; live objects are used as they are.

    `place(model)` returns the model on its device. It is called before the optimizer is made, because the optimizer
    must hold the parameters that it will update. `place` moves a live model too; the caller must remember on which
    device that model was. `mesh()` returns the processes over which a `model(mesh)` divides its weights.

    If the problem has a checkpoint, weights and optimizer then are as it says.

    Raises UsageError, ModelFileError, and any exception of the user's code.
    """
    model = make_model(problem, mesh)
    if problem.start is not None:
        load_weights(problem.start, model, problem.where)
    model = place(model)
    early = make_loss(problem, model) if problem.loss_fn is not None else None  # it may have weights to train
    if any(map(is_lazy, model.parameters())):
        _materialize(problem, model)
    made = make_optimizer(problem, model, [] if early is None else early.weights)
    if problem.start is not None:
        load_optimizer(problem.start, made.parts, problem.where)
    loader = make_loader(problem, model)
    loss = early or make_loss(problem, model)
    named = None if problem.optimizers is None else NamedLosses(loss, made.parts, problem.where)
    return BuiltProblem(
        model=model,
        optimizer=made.optimizer,
        group_ratios=made.group_ratios,
        loader=loader,
        loss=loss if named is None else named.swept,
        loss_note=loss.note,
        optimizer_note=made.chosen_by,
        own_lr=made.own_lr,
        name=made.parts[0].name,
        others=made.parts[1:],
        named_losses=named,
        watch=loss.watch,
        beside=() if loss.module is None else (loss.module,),
    )


def _materialize(problem: Problem, model: nn.Module) -> None:
    """Let the lazy layers of `model` take their shapes from the first batch."""
    if isinstance(problem.train_loader, Iterator):
        raise lazy_layers(problem.where, model)  # it has one start, and the batch would be missing
    with user_code("starting train_loader for the shapes of lazy layers"):
        batch = next(iter(make_loader(problem, model)), None)
    if batch is not None:
        with torch.no_grad():
            make_loss(problem, model)(model, to_device(batch, next(model.parameters()).device))
    check_trainable(model, problem.where)
