"""What is trained: as the user defined it (`Problem`), and built for one repeat of a sweep (`BuiltProblem`)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from lrfinder.records import LOADER_TIMEOUT, UpdateOptions
from lrfinder.task.checkpoint.read import Checkpoint
from lrfinder.task.first_loss import Seeing


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """The contents of the model file: each name holds the object itself, or a callable that makes it.

    `optimizer` is a live `torch.optim.Optimizer`, a callable `(params, lr)`, or None. If it is None, an optimizer of
    the torch.optim class `optimizer_name` is made (None means AdamW). The class is called with `optimizer_options`,
    such as `momentum` and `weight_decay`.
    """

    name: str
    model: nn.Module | Callable[[], nn.Module]
    train_loader: Iterable[Any] | Callable[..., Iterable[Any]] | None = None  # None: the LightningModule has one
    loss_fn: Callable[..., torch.Tensor] | None = None
    training_step: Callable[[nn.Module, Any], torch.Tensor] | None = None
    # It may also be a sequence or a mapping of several optimizers, which are swept as if they were one.
    optimizer: torch.optim.Optimizer | Collection[torch.optim.Optimizer] | Callable[..., Any] | None = None
    optimizers: Mapping[str, torch.optim.Optimizer] | Callable[..., Any] | None = None
    val_loader: Iterable[Any] | Callable[..., Iterable[Any]] | None = None
    optimizer_name: str | None = None
    optimizer_options: Mapping[str, float] = field(default_factory=dict)
    batch_size: int | None = None  # in samples, passed to `train_loader(batch_size)`; None: the loader's default
    training: UpdateOptions = UpdateOptions()
    loader_timeout: float = LOADER_TIMEOUT  # seconds that the loader may take for a batch; 0: no limit
    start: Checkpoint | None = None  # where training begins; None: as `model` and `optimizer` are
    where: str = "the model file"  # what messages call the place of the names, such as "digits.py"


COMMON = ""  # the key of a loss that every optimizer minimizes


@dataclass(frozen=True, slots=True, kw_only=True)
class SweptOptimizer:
    """One of the optimizers. The rate of its param group i is `rate * group_ratios[i]`, where `rate` is the swept rate.

    If `group_ratios` is None, the optimizer isn't swept and keeps its own rates.
    """

    name: str
    optimizer: torch.optim.Optimizer
    group_ratios: tuple[float, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltProblem:
    """Everything that one repeat needs, on its device.

    `loss(model, batch)` returns the scalar training loss of a batch that is already on the device. The rate of
    param group i of `optimizer` is `rate * group_ratios[i]`, where `rate` is the swept rate. `loss_note()` says in
    words how the loss was found. `optimizer_note` says who chose the optimizer ("model file", "option" or "default"),
    or which of several is swept. `own_lr` is the swept rate that the user's code gives it by itself, if any.

    If the model file has several optimizers, `optimizer` is the first that is swept, `name` is its name, and `others`
    holds the rest. If the file gives them under the name `optimizers`, `named_losses(model, batch)` returns the loss of
    each by its name, or one loss for all under the key COMMON; `loss` is then the loss of `optimizer`.

    `beside` are modules and generators, other than the model, that computing the loss may change.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    group_ratios: tuple[float, ...]
    loader: Iterable[Any]
    loss: Callable[[nn.Module, Any], torch.Tensor | None]  # None: the batch is to be skipped
    loss_note: Callable[[], str]  # call it after the first batch: an inferred loss is known only then
    optimizer_note: str
    own_lr: float | None = None
    name: str = "optimizer"
    others: tuple[SweptOptimizer, ...] = ()
    named_losses: Callable[[nn.Module, Any], dict[str, torch.Tensor]] | None = None
    watch: Callable[[Seeing | None], Seeing | None] = lambda _: None  # shows it what the next losses are computed of
    beside: tuple[Any, ...] = ()

    @property
    def parts(self) -> tuple[SweptOptimizer, ...]:
        """All optimizers. The swept one comes first."""
        return (SweptOptimizer(name=self.name, optimizer=self.optimizer, group_ratios=self.group_ratios), *self.others)
