"""The loss if the file defines none: the model's own, else one that the target's type suggests."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import nn

from lrfinder.errors import ModelFileError
from lrfinder.task.calling import describe_value, user_call

_HINT = "write `def loss_fn(output, target): ...` or `def training_step(model, batch): ...` in the file"

# What a model calls the argument that it computes its own loss from.
_TARGET_NAMES = frozenset({"labels", "label", "targets", "target", "y"})

_IGNORED_CLASS = -100  # what cross-entropy leaves out by default, torch's `ignore_index`


class InferredLoss:
    """The loss that the model returns itself (`output.loss` or `output["loss"]`), else by the type of the target.

    A mapping is passed to the model as keyword arguments. Of a sequence all but the last element, the target, are
    passed, or all of it if `forward` asks for that many arguments or calls the last one labels or targets.
    """

    def __init__(self, model: nn.Module, where: str) -> None:
        self._where = where
        self._forward = _forward_parameters(model)
        self._note = "to be inferred from the first batch"
        self._labels_checked = False

    def note(self) -> str:
        """Return how the loss was found, in words."""
        return self._note

    def __call__(self, model: nn.Module, batch: Any) -> Any:
        """Return the loss of `batch`; raises ModelFileError if none can be inferred."""
        inputs, named, target = self._arguments(batch)
        with user_call("running the model on a batch"):
            output = model(*inputs, **named)
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
        """Return positional and keyword arguments of the model, and the target that it isn't given (or None)."""
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
        # (N, 1) against (N,) would broadcast to (N, N) without a word: only axes of length 1 may differ.
        if output.squeeze().shape != target.squeeze().shape:
            raise self._shapes("mean squared error", output, target)
        return F.mse_loss(output.reshape(target.shape), target.to(output.dtype))

    def _cross_entropy(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        one_axis_more = output.ndim == target.ndim + 1 and target.ndim > 0
        classes_second = one_axis_more and output.shape[:1] + output.shape[2:] == target.shape
        classes_last = one_axis_more and output.shape[:-1] == target.shape
        if output.ndim > 2 and classes_second and classes_last:  # noqa: PLR2004 - (N, C): second is last
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
        if self._labels_checked:  # once: on a GPU each look at the labels waits for it
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
    """Return how many arguments `model.forward` requires, and the names of those that can be passed by position."""
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):  # a scripted module
        return 0, ()
    by_position = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return sum(p.default is p.empty for p in by_position), tuple(p.name for p in by_position)
