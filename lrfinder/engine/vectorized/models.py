"""Several copies of a model that train at once on the same batches, each at its own rate.

The weights of all copies (members) are in one tensor, whose first axis counts the members. The loss and its gradient
are mapped over it (`torch.func`), so each operation is called once for all. No member's loss depends on another's
weights, so a member whose loss is NaN changes no other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.func import functional_call, grad_and_value, vmap

from lrfinder.engine.vectorized.optimizers import NotStackable, side_by_side, update_of
from lrfinder.task.problem import BuiltProblem


class VmappedModels:
    """`count` members, all with the weights, the buffers and the optimizer state that `trial` has now.

    Raises NotStackable if this kind of trial can't be trained so. Some reasons show only when it runs (code that reads
    a number, an operation that can't be mapped); then torch raises. The trial isn't changed, except by the user's own
    code.
    """

    def __init__(self, trial: BuiltProblem, count: int) -> None:
        _check(trial)
        self._whole = _Whole(trial.model, trial.loss)
        self._gradients: list[torch.Tensor] = []
        self._groups = [_Group(trial, index, count) for index in range(len(trial.optimizer.param_groups))]
        self._buffers = {
            f"model.{name}": value.detach().expand(count, *value.shape).clone()
            for name, value in trial.model.named_buffers()
        }

    def train_losses(self, batch: Any) -> torch.Tensor:
        """Return each member's loss of `batch`, and keep the gradients for `update`."""
        # "same": runs that are made one by one draw the same numbers, too, since all have one seed.
        mapped = vmap(grad_and_value(self._loss), in_dims=(0, 0, None), randomness="same")
        self._gradients, losses = mapped([group.flat for group in self._groups], self._buffers, _Held(batch))
        return losses  # type: ignore[no-any-return]

    def held_out_losses(self, model: nn.Module, batch: Any) -> torch.Tensor:
        """Return each member's loss of a held-out batch; `model` is the trial's own, in evaluation mode."""
        del model
        mapped = vmap(self._loss, in_dims=(0, 0, None), randomness="same")
        return mapped([group.flat for group in self._groups], self._buffers, _Held(batch))  # type: ignore[no-any-return]

    def update(self, rates: Sequence[float]) -> None:
        """Make an update of every member at its rate, with the gradient of its last loss."""
        column = torch.tensor(rates, dtype=torch.float64, device=self._groups[0].flat.device)[:, None]
        with torch.no_grad():
            for group, gradient in zip(self._groups, self._gradients, strict=True):
                group.update(gradient, column)

    def _loss(self, flats: list[torch.Tensor], buffers: Mapping[str, torch.Tensor], held: _Held) -> Any:
        """Return the loss of one member."""
        weights: dict[str, torch.Tensor] = {}
        for group, flat in zip(self._groups, flats, strict=True):
            weights |= group.weights(flat)
        return functional_call(self._whole, {**weights, **buffers}, (held.batch,))

    def keep(self, members: Sequence[int]) -> None:
        """Drop all members but these, in this order."""
        for group in self._groups:
            group.keep(members)
        self._buffers = {name: value[list(members)] for name, value in self._buffers.items()}


class _Whole(nn.Module):
    """A model and its loss as one module, which is what `functional_call` takes."""

    def __init__(self, model: nn.Module, loss: Callable[[nn.Module, Any], torch.Tensor | None]) -> None:
        super().__init__()
        self.model = model
        self._loss = loss

    def forward(self, batch: Any) -> torch.Tensor:
        loss = self._loss(self.model, batch)
        if loss is None:
            raise NotStackable("a batch is skipped")
        return loss


class _Group:
    """One param group of all members: `flat` is members x weights."""

    def __init__(self, trial: BuiltProblem, index: int, count: int) -> None:
        group = trial.optimizer.param_groups[index]
        names = {id(parameter): f"model.{name}" for name, parameter in trial.model.named_parameters()}
        self._layout = [(names[id(p)], p.numel(), p.shape) for p in group["params"]]
        self._ratio = trial.group_ratios[index]
        self._update = update_of(trial.optimizer, group, count)
        self.flat = side_by_side(group["params"], count)

    def weights(self, flat: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return one member's weights by name, by one split: its gradient is one concatenation."""
        parts = torch.split(flat, [size for _, size, _ in self._layout])
        return {name: part.view(shape) for part, (name, _, shape) in zip(parts, self._layout, strict=True)}

    def update(self, gradient: torch.Tensor, rates: torch.Tensor) -> None:
        self._update(self.flat, gradient, rates * self._ratio)

    def keep(self, members: Sequence[int]) -> None:
        self.flat = self.flat[list(members)]
        self._update.state = {name: value[list(members)] for name, value in self._update.state.items()}


class _Held:
    """Hides a batch from vmap, which would look for tensors in it."""

    def __init__(self, batch: Any) -> None:
        self.batch = batch


def _check(trial: BuiltProblem) -> None:
    """Raise NotStackable for a trial that would train differently at once, or whose hooks would not be called."""
    known = {id(parameter) for parameter in trial.model.parameters()}
    optimizer = trial.optimizer
    if trial.others:
        raise NotStackable("there are several optimizers")
    for group in optimizer.param_groups:
        kinds = {(p.dtype, p.device, p.layout) for p in group["params"]}
        if len(kinds) != 1 or not all(p.requires_grad and id(p) in known for p in group["params"]):
            raise NotStackable("a param group isn't of trainable parameters of the model, all of one kind")
    if optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks:  # noqa: SLF001 - no public name
        raise NotStackable("the optimizer has hooks")
    for parameter in trial.model.parameters():
        if parameter._backward_hooks or parameter._post_accumulate_grad_hooks:  # noqa: SLF001
            raise NotStackable("parameters have hooks")
    for module in trial.model.modules():
        if isinstance(module, torch.jit.ScriptModule) or hasattr(module, "_orig_mod"):
            raise NotStackable("the model is compiled")
        hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)  # noqa: SLF001
        if any(hooks):
            raise NotStackable("modules have hooks")
