"""Updates whose gradients are averaged over the processes by torch's DistributedDataParallel."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from lrfinder.engine.distributed.exchange import AgreedEnd, CountedBatches, weighted_mean
from lrfinder.engine.distributed.sharding import LossOf, undivided_operation
from lrfinder.engine.distributed.team import Team
from lrfinder.engine.losses.log import StoppingRule, When
from lrfinder.engine.runtime.divided import fsdp_modules, is_divided_model
from lrfinder.engine.runtime.failures import BeginAgain
from lrfinder.engine.update.backward_hooks import has_backward_hooks
from lrfinder.engine.update.updater import Part, Updater
from lrfinder.errors import ModelFileError, UsageError, error_text
from lrfinder.records import Stop
from lrfinder.task.optimizers.by_name import needs_closure
from lrfinder.task.problem import BuiltProblem


class SharedUpdater(Updater):
    """An Updater whose gradients, and first losses, are means over all processes.

    With `late` the later losses are this process's own, for `SharedReadback`.
    """

    def __init__(
        self, trial: BuiltProblem, *given: Any, team: Team, late: bool, over: Callable[[], bool], **others: Any
    ) -> None:
        """`over()` tells whether the time is over; rank 0's answer counts."""
        self._team, self._over = team, over
        self._wrapped, self._own = _wrapped(trial, finds_unused=team.finds_unused)
        self._divided = fsdp_modules([trial.model]) if team.divided else []
        own = self._own
        if own is not None:
            trial = dataclasses.replace(trial, loss=lambda _, batch: own(batch))
        super().__init__(trial, *given, late=late, **others)
        self._own_losses = False  # whether the losses are this process's own from now on

    @property
    def counts(self) -> CountedBatches:
        counts = self._batches
        assert isinstance(counts, CountedBatches)  # noqa: S101 - `SharedTraining.updater` made it
        return counts

    def next_loss(self, *, gradient: bool = True) -> torch.Tensor | None:
        watch = self._team.watch
        watch.busy = False  # while the batch is waited for: the loader has a limit of its own
        watch.marks += 1
        loss = super().next_loss(gradient=gradient)
        watch.marks += 1
        if self._own_losses:
            return loss
        self._own_losses = self._late
        return self._mean(loss)

    def make(self, rate: float) -> bool:
        watch = self._team.watch
        watch.update = self._made
        watch.marks += 1
        watch.busy = True
        try:
            return super().make(rate)
        except Exception as error:
            refused = undivided_operation(error, type(self._trial.optimizer).__name__) if self._team.divided else None
            if refused is None:
                raise
            raise refused from error
        finally:
            watch.marks += 1
            watch.busy = False

    def stopping_rule(self, first: float, when: When, *, drift: float = 0.0) -> StoppingRule:
        rule = super().stopping_rule(first, when, drift=drift)
        if self._team.divided and not self._late:
            rule.agreed = lambda own: sum(row[0] for row in self._team.gather([own]))
        return rule

    def close(self) -> None:
        """Take the hooks of our own DDP off the parameters."""
        self._team.watch.busy = False
        if self._own is not None:
            for name in ("reducer", "logger", "process_group"):  # which hold them; the module may live on in a cycle
                self._own.__dict__.pop(name, None)

    def _is_plain(self) -> bool:
        return False  # every update marks its way

    def _losses_of(self, part: Part) -> dict[str, torch.Tensor]:
        self._team.watch.busy = True
        self._team.watch.update = self._made
        last = (part.number + 1) % self._training.accumulate == 0
        for module in self._wrapped:  # the gradients of an update are averaged once
            module.require_backward_grad_sync = last
        try:
            losses = super()._losses_of(part)
        except RuntimeError as error:
            if (
                self._own is None
                or self._team.finds_unused
                or "finished reduction in the prior" not in error_text(error)
            ):
                raise
            self._team.finds_unused = True  # what torch says if the last update left weights without a gradient
            raise BeginAgain from error
        for module in self._divided:  # a root of the model file's own keeps its weights whole until the backward pass
            module.reshard()
        if not losses:
            raise ModelFileError(
                f"the loss of batch {part.number} is None on rank {self._team.rank}, and with several processes each "
                "needs a loss of every batch",
                hint="None skips a batch: let the data give no such batch, or use one process",
            )
        return losses

    def _mean(self, loss: torch.Tensor | None) -> torch.Tensor | None:
        own = [0.0, 0.0] if loss is None else [loss.item(), float(self.counts.samples)]
        rows = self._team.gather([float(loss is None), float(self._over()), *own])
        if any(row[0] for row in rows):
            return None
        if rows[0][1] and not self._late and self._made:
            raise AgreedEnd(Stop.OUT_OF_TIME)
        mean = weighted_mean([row[2] for row in rows], [row[3] for row in rows])
        return torch.tensor(mean, dtype=torch.float64, device="cpu")


def check_shareable(trial: BuiltProblem) -> None:
    """Raise UsageError for what several processes can't train alike."""
    why = ""
    if trial.named_losses is not None:
        why = "several `optimizers` with losses of their own step one after the other"
    closing = next((part for part in trial.parts if needs_closure(type(part.optimizer))), None)
    if closing is not None:
        why = f"{type(closing.optimizer).__name__} decides by its own loss, which differs between the processes"
    if has_backward_hooks(trial.model.parameters()):
        why = "an optimizer that steps in hooks of the backward pass does so before the gradients are averaged"
    if why:
        raise UsageError(f"several processes can't be used: {why}", hint="leave --nproc out: sweep in one process")


def distributed_modules(model: nn.Module) -> list[DistributedDataParallel]:
    """Return the DistributedDataParallel that the user's model is, or has."""
    return [module for module in model.modules() if isinstance(module, DistributedDataParallel)]


@contextlib.contextmanager
def without_collectives(model: nn.Module) -> Iterator[None]:
    """Let a DDP of the user's compute losses without the other processes, as each judges its own batches."""
    modules = distributed_modules(model)
    before = [(module.require_forward_param_sync, module.require_backward_grad_sync) for module in modules]
    for module in modules:
        module.require_forward_param_sync = module.require_backward_grad_sync = False
    try:
        yield
    finally:
        for module, (forward, backward) in zip(modules, before, strict=True):
            module.require_forward_param_sync, module.require_backward_grad_sync = forward, backward


def _wrapped(
    trial: BuiltProblem, *, finds_unused: bool
) -> tuple[list[DistributedDataParallel], DistributedDataParallel | None]:
    """Return the modules that average gradients, and that of them which is ours: none if the model brings its own."""
    check_shareable(trial)
    users = distributed_modules(trial.model)
    if users or is_divided_model(trial.model):
        return users, None
    loss = LossOf(trial.model, beside=trial.beside)
    loss.with_loss(trial)
    own = DistributedDataParallel(loss, find_unused_parameters=finds_unused)
    return [own], own
