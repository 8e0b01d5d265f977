"""Compute the scalar loss of a batch in the way that the model file defines."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import nn

from lrfinder.errors import ModelFileError
from lrfinder.task.calling import accepts_args, call_name, describe_value, explain_inputs, user_call
from lrfinder.task.first_loss import Seeing, show
from lrfinder.task.inferred import InferredLoss
from lrfinder.task.lightning import LightningLoss, overrides
from lrfinder.task.optimizers.group_rates import as_named_optimizer_set, as_optimizer_set
from lrfinder.task.problem import Problem

_STEP_HINT = "write `def training_step(model, batch): ...` returning the loss"


class _RawLoss(Protocol):
    def __call__(self, model: nn.Module, batch: Any) -> Any: ...

    def note(self) -> str: ...


class Loss:
    """A callable `loss(model, batch)` that returns the scalar training loss and checks it."""

    def __init__(self, raw: _RawLoss, where: str, module: nn.Module | None = None) -> None:
        self.raw = raw  # the same loss without the check
        self.module = module  # the loss_fn, if it is one
        self._where = where
        self._seen: Seeing | None = None

    @property
    def weights(self) -> list[nn.Parameter]:
        """The trainable parameters of the loss_fn itself, such as the class centres of a metric loss."""
        return [] if self.module is None else [weight for weight in self.module.parameters() if weight.requires_grad]

    def __call__(self, model: nn.Module, batch: Any) -> torch.Tensor | None:
        """Return the loss of a batch that is on the model's device, as a tensor without dimensions.

        None if the user's code gives None in place of a loss: the batch is to be skipped.

        Raises ModelFileError if the loss isn't one floating-point number that depends on the model's parameters.
        """
        if self._seen is None or self._seen.enough or _is_compiled(model):
            loss = self.raw(model, batch)
        else:
            loss = show(self._seen, lambda: self.raw(model, batch))
        if isinstance(loss, Mapping) and "loss" in loss:
            loss = loss["loss"]
        if type(loss) is torch.Tensor and loss.requires_grad and not loss.dim() and not loss.is_complex():
            return loss  # the usual case; only float and complex tensors can require a gradient
        if loss is None:
            return None
        return checked_loss(loss, self._where)

    def note(self) -> str:
        """Say in words how the loss was found. An inferred loss is known only after the first batch."""
        return self.raw.note()

    def watch(self, seen: Seeing | None) -> Seeing | None:
        """Show `seen` what the next losses are computed of, if that can be told; None: nobody.

        Return who saw it before. A compiled model that computes its loss itself isn't looked at: it would be compiled
        once more.
        """
        if isinstance(self.raw, _FunctionLoss):
            before, self.raw.seen = self.raw.seen, seen
        else:
            before, self._seen = self._seen, seen
        return before


def make_loss(problem: Problem, model: nn.Module) -> Loss:
    """Return the loss of `model`, which must be on its device already.

    The first of these that exists is used: the file's `training_step`, that of a LightningModule, the file's
    `loss_fn`, the loss that the model returns itself, a loss inferred from the target. If `loss_fn` is a module with
    parameters or buffers, a copy of it on the model's device is used; but the module itself if a live optimizer trains
    its parameters.
    """
    where = problem.where
    if problem.training_step is not None:
        return Loss(_StepLoss(_made(problem.training_step, "training_step", where)), where)
    if overrides(model, "training_step"):
        return Loss(LightningLoss(model, where), where)
    if problem.loss_fn is not None:
        function = _loss_function(problem, model)
        return Loss(_FunctionLoss(function, where), where, function if isinstance(function, nn.Module) else None)
    return Loss(InferredLoss(model, where), where)


def _is_compiled(model: nn.Module) -> bool:
    """Return whether a part of `model` is compiled, by `torch.compile(part)` or `part.compile()`."""
    parts = model.modules()
    return any(hasattr(part, "_orig_mod") or part._compiled_call_impl is not None for part in parts)  # noqa: SLF001


def checked_loss(loss: Any, where: str, what: str = "the loss") -> torch.Tensor:
    """Return `loss` as a tensor without dimensions; raise ModelFileError if it can't be minimized. `what` names it."""
    if not isinstance(loss, torch.Tensor):
        asked = "; did it go through .item() or float()?" if isinstance(loss, float) else ""
        hint = _STEP_HINT
        if isinstance(loss, Mapping):
            hint = 'return what is minimized, such as sum(losses.values()), or a mapping with the key "loss"'
        elif isinstance(loss, list | tuple):
            hint = "return what is minimized alone: the first of them?"
        raise ModelFileError(f"{where}: {what} is {_shape_of(loss)}, not a tensor{asked}", hint=hint)
    if loss.numel() != 1:
        raise ModelFileError(
            f"{where}: {what} has the shape {tuple(loss.shape)}, not a single number",
            hint="return its mean: take .mean(), or leave reduction at 'mean'",
        )
    if not loss.is_floating_point():
        raise ModelFileError(f"{where}: {what} is a tensor of {loss.dtype}, not of floats", hint=_STEP_HINT)
    if torch.is_grad_enabled() and not loss.requires_grad:
        raise ModelFileError(
            f"{where}: {what} doesn't depend on the model's parameters: it needs no gradient",
            hint="look for .detach(), torch.no_grad(), .item() or an argmax between the model and the loss",
        )
    return loss if loss.dim() == 0 else loss.reshape(())  # only if needed: a view adds a node to the autograd graph


class _StepLoss:
    def __init__(self, step: Callable[[nn.Module, Any], Any]) -> None:
        self._step = step

    def __call__(self, model: nn.Module, batch: Any) -> Any:
        with user_call("calling training_step(model, batch)"):
            return self._step(model, batch)

    def note(self) -> str:
        return "training_step"


class _FunctionLoss:
    def __init__(self, function: Callable[..., Any], where: str) -> None:
        self._function = function
        self._where = where
        self.seen: Seeing | None = None

    def __call__(self, model: nn.Module, batch: Any) -> Any:
        if batch is None:  # a collate function found no sample
            return None
        if not isinstance(batch, list | tuple) or len(batch) < 2:  # noqa: PLR2004 - an input and a target
            raise ModelFileError(
                f"{self._where}: loss_fn takes batches (inputs..., target), and the batch is {_shape_of(batch)}",
                hint="for any other batch " + _STEP_HINT,
            )
        *inputs, target = batch
        with user_call("running the model on a batch") as now:
            try:
                output = model(*inputs)
            except TypeError as error:
                explain_inputs(error, inputs)
                raise
            now.place = "calling loss_fn(output, target)"
            if self.seen is None or self.seen.enough:
                return self._function(output, target)
            return show(self.seen, lambda: self._function(output, target))

    def note(self) -> str:
        return f"loss_fn {call_name(self._function)}"


def _loss_function(problem: Problem, model: nn.Module) -> Callable[..., Any]:
    function = _made(problem.loss_fn, "loss_fn", problem.where)
    if isinstance(function, nn.Module) and [*function.parameters(), *function.buffers()]:
        device = next(model.parameters()).device
        if _trained_live(function, problem):
            return function.to(device)
        # It has class weights, for instance. Copy it, so that the user's own object stays unchanged and on its device.
        return copy.deepcopy(function).to(device)
    return function


def _trained_live(function: nn.Module, problem: Problem) -> bool:
    """Return whether a live optimizer holds parameters of `function`."""
    live = {**as_optimizer_set(problem.optimizer), **as_named_optimizer_set(problem.optimizers)}.values()
    held = {id(weight) for optimizer in live for group in optimizer.param_groups for weight in group["params"]}
    return any(id(weight) in held for weight in function.parameters())


def _made(value: Any, key: str, where: str) -> Callable[..., Any]:
    """Return `value`, or the result of `value()` if it is a class or a function that takes no arguments."""
    if not inspect.isclass(value) and (accepts_args(value, 2) or not accepts_args(value, 0)):
        return value  # type: ignore[no-any-return]
    with user_call(f"calling {key}()"):
        made = value()
    if not callable(made):
        raise ModelFileError(
            f"{where}: {key}() returned {describe_value(made)}",
            hint="let it take (output, target), or return a function that does" if key == "loss_fn" else _STEP_HINT,
        )
    return made  # type: ignore[no-any-return]


def _shape_of(batch: Any) -> str:
    if isinstance(batch, Mapping):
        return f"{describe_value(batch)} with the keys {', '.join(map(str, batch))}"
    if isinstance(batch, list | tuple):
        return f"{describe_value(batch)} of {len(batch)}"
    return describe_value(batch)
