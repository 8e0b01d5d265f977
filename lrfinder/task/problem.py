"""What is to be trained: as the user gave it (`Problem`), and made ready for one repeat (`Trial`)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from lrfinder.records import LOADER_TIMEOUT, UpdateOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """The names of the model file, each the object itself or a callable that makes it; nothing is built yet.

    `optimizer` is a live `torch.optim.Optimizer`, a callable `(params, lr)`, or None; then `optimizer_name`
    (a class of torch.optim; None means AdamW) with `optimizer_options` (`momentum`, `weight_decay`, ...) is used.
    """

    name: str
    model: nn.Module | Callable[[], nn.Module]
    train_loader: Iterable[Any] | Callable[..., Iterable[Any]] | None = None  # None: the LightningModule has one
    loss_fn: Callable[..., torch.Tensor] | None = None
    training_step: Callable[[nn.Module, Any], torch.Tensor] | None = None
    # In place of one optimizer, a sequence or a mapping of several that are swept as one.
    optimizer: torch.optim.Optimizer | Collection[torch.optim.Optimizer] | Callable[..., Any] | None = None
    optimizers: Mapping[str, torch.optim.Optimizer] | Callable[..., Any] | None = None
    val_loader: Iterable[Any] | Callable[..., Iterable[Any]] | None = None
    optimizer_name: str | None = None
    optimizer_options: Mapping[str, float] = field(default_factory=dict)
    batch_size: int | None = None  # passed to `train_loader(batch_size)`; None: the loader's own
    training: UpdateOptions = UpdateOptions()
    loader_timeout: float = LOADER_TIMEOUT  # seconds that a batch may take; 0: forever
    where: str = "the model file"  # what messages call the place that the names come from, e.g. "digits.py"


COMMON = ""  # the key of a loss that every optimizer follows


@dataclass(frozen=True, slots=True, kw_only=True)
class SweptOptimizer:
    """An optimizer of a trial. The rate of its param group i is `rate * group_ratios[i]`; None: it holds its own."""

    name: str
    optimizer: torch.optim.Optimizer
    group_ratios: tuple[float, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltProblem:
    """Everything that one repeat needs, on its device.

    `loss(model, batch)` returns the scalar training loss of a batch that is already on the device. The rate of
    param group i of `optimizer` is `rate * group_ratios[i]`. `loss_note` says in words how the loss was found, and
    `optimizer_note` who chose the optimizer ("model file", "option" or "default").

    If there are `others` beside it, `name` tells it from them. `named_losses(model, batch)` then returns the loss
    that each follows, by name, or one for all under COMMON; `loss` is that of `optimizer`.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    group_ratios: tuple[float, ...]
    loader: Iterable[Any]
    loss: Callable[[nn.Module, Any], torch.Tensor]
    loss_note: Callable[[], str]  # called after the first batch: an inferred loss is known only then
    optimizer_note: str
    name: str = "optimizer"
    others: tuple[SweptOptimizer, ...] = ()
    named_losses: Callable[[nn.Module, Any], dict[str, torch.Tensor]] | None = None

    @property
    def parts(self) -> tuple[SweptOptimizer, ...]:
        """Every optimizer, the one that is swept first."""
        return (SweptOptimizer(name=self.name, optimizer=self.optimizer, group_ratios=self.group_ratios), *self.others)
