"""Infer the loss if the model file defines none: use the model's own loss, else one that fits the target's type."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import nn

from lrfinder.errors import ModelFileError
from lrfinder.task.calling import describe_value, explain_inputs, user_call

_HINT = "write `def loss_fn(output, target): ...` or `def training_step(model, batch): ...` in the file"

# Common names for the argument of `forward` that holds the target, for models that compute their own loss.
_TARGET_NAMES = frozenset({"labels", "label", "targets", "target", "y"})

_IGNORED_CLASS = -100  # cross-entropy ignores this label by default (torch's `ignore_index`)


class InferredLoss:
    """A loss that is found without a `loss_fn`.

    It is the loss that the model returns (`output.loss` or `output["loss"]`). If the model returns none, the type of
    the target decides: mean squared error for floats, cross-entropy for integers.

    If the batch is a mapping, the model gets it as keyword arguments. If it is a list or a tuple, the last of its
    elements is the target, and the model gets the elements before it. The model gets all elements if there is only
    one, if `forward` requires that many arguments, or if the parameter that would take the last one has a name such as
    `labels` or `target`. Any other batch is the model's only argument.
    """

    def __init__(self, model: nn.Module, where: str) -> None:
        self._where = where
        self._forward = _forward_parameters(model)
        self._note = "to be inferred from the first batch"
        self._labels_checked = False

    def note(self) -> str:
        """Say in words how the loss was found."""
        return self._note

    def __call__(self, model: nn.Module, batch: Any) -> Any:
        """Return the loss of `batch`, None if there is none; raises ModelFileError if none can be inferred."""
        if batch is None:  # a collate function found no sample
            return None
        inputs, named, target = self._arguments(batch)
        with user_call("running the model on a batch"):
            try:
                output = model(*inputs, **named)
            except TypeError as error:
                explain_inputs(error, inputs)
                raise
        loss = _own_loss(output)
        if loss is not None:
            self._note = f"the model's own ({type(output).__name__}.loss)"
            return loss
        if target is None:
            raise ModelFileError(
                f"{self._where}: the model took the whole batch and returned {describe_value(output)} without a loss",
                hint=f"{_HINT}; a transformers model computes its loss if the batch has `labels`",
            )
        return self._by_target(output, target)

    def _arguments(self, batch: Any) -> tuple[tuple[Any, ...], dict[str, Any], Any]:
        """Return the model's positional and keyword arguments, and the target; None if the model gets it all."""
        if isinstance(batch, Mapping):
            if not all(isinstance(key, str) for key in batch):
                raise ModelFileError(f"{self._where}: the batch is a mapping whose keys aren't all names", hint=_HINT)
            return (), dict(batch), None
        if not isinstance(batch, list | tuple):
            return (batch,), {}, None
        count = len(batch)
        required, names = self._forward
        whole = required >= count or (len(names) >= count and names[count - 1] in _TARGET_NAMES)
        if whole or count == 1:
            return tuple(batch), {}, None
        return tuple(batch[:-1]), {}, batch[-1]

    def _by_target(self, output: Any, target: Any) -> torch.Tensor:
        for value, name in ((output, "model's output"), (target, "target")):
            if not isinstance(value, torch.Tensor):
                raise ModelFileError(
                    f"{self._where}: no loss can be inferred: the {name} is {describe_value(value)}, not a tensor",
                    hint=_HINT,
                )
        if not output.is_floating_point():
            raise ModelFileError(f"{self._where}: no loss can be inferred from an output of {output.dtype}", hint=_HINT)
        kind = str(target.dtype).removeprefix("torch.")
        if target.is_floating_point():
            self._note = f"mean squared error (inferred: the target is {kind})"
            return self._squared_error(output, target)
        if target.dtype is torch.bool or target.is_complex():
            raise ModelFileError(f"{self._where}: no loss can be inferred for a target of {kind}", hint=_HINT)
        self._note = f"cross-entropy (inferred: the target is {kind})"
        return self._cross_entropy(output, target.long())

    def _squared_error(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        # (N, 1) and (N,) would silently broadcast to (N, N), so the shapes may differ only in axes of length 1.
        if output.squeeze().shape != target.squeeze().shape:
            raise self._shapes("mean squared error", output, target)
        return F.mse_loss(output.reshape(target.shape), target.to(output.dtype))

    def _cross_entropy(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        one_axis_more = output.ndim == target.ndim + 1 and target.ndim > 0
        classes_second = one_axis_more and output.shape[:1] + output.shape[2:] == target.shape
        classes_last = one_axis_more and output.shape[:-1] == target.shape
        if output.ndim > 2 and classes_second and classes_last:  # noqa: PLR2004 - in (N, C) the second axis is the last
            raise ModelFileError(
                f"{self._where}: cross-entropy was inferred, but which axis of the output {tuple(output.shape)} counts "
                f"the classes can't be inferred from the target {tuple(target.shape)}",
                hint=_HINT,
            )
        if classes_last:
            output, target = output.flatten(0, -2), target.flatten()
        elif not classes_second:
            raise self._shapes("cross-entropy", output, target)
        self._check_labels(output.shape[1], target)
        return F.cross_entropy(output, target)

    def _check_labels(self, classes: int, target: torch.Tensor) -> None:
        if classes == 1:
            raise ModelFileError(
                f"{self._where}: cross-entropy was inferred from the integer target, but the model has a single "
                "output, for which it is always 0",
                hint="for two classes use torch.nn.BCEWithLogitsLoss() as loss_fn; for a number make the target float",
            )
        if self._labels_checked:  # only once: reading the labels waits for the GPU
            return
        labels = target[target != _IGNORED_CLASS]
        if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
            raise ModelFileError(
                f"{self._where}: labels run from {int(labels.min())} to {int(labels.max())}, "
                f"and the model has {classes} outputs, for labels from 0 to {classes - 1}",
                hint="count the classes, or " + _HINT,
            )
        self._labels_checked = True

    def _shapes(self, loss: str, output: torch.Tensor, target: torch.Tensor) -> ModelFileError:
        return ModelFileError(
            f"{self._where}: {loss} was inferred from the target, but the output has the shape {tuple(output.shape)} "
            f"and the target {tuple(target.shape)}",
            hint=_HINT,
        )


def _own_loss(output: Any) -> Any:
    if isinstance(output, Mapping):
        return output.get("loss")
    return None if isinstance(output, torch.Tensor) else getattr(output, "loss", None)


def _forward_parameters(model: nn.Module) -> tuple[int, tuple[str, ...]]:
    """Return how many positional arguments `model.forward` requires, and the names of all that it accepts."""
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):  # a scripted module
        return 0, ()
    by_position = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return sum(p.default is p.empty for p in by_position), tuple(p.name for p in by_position)
