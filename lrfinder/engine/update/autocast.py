"""The precision in which the loss is computed, in training and evaluation: torch's autocast."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch

from lrfinder.errors import UsageError
from lrfinder.records import Precision
from lrfinder.task.problem import BuiltProblem

_TYPES = {Precision.FP32: torch.float32, Precision.BF16: torch.bfloat16, Precision.FP16: torch.float16}


def in_precision(trial: BuiltProblem, precision: Precision, device: torch.device) -> BuiltProblem:
    """Return `trial` with its losses computed in `precision`; `auto` leaves them as they are.

    Raises UsageError if the device or the type of the model's parameters doesn't allow it.
    """
    if precision is Precision.AUTO:
        return trial
    if precision is not Precision.FP32:
        _check(trial, precision, device)
    named = trial.named_losses
    return dataclasses.replace(
        trial,
        loss=_within(trial.loss, precision, device),
        named_losses=None if named is None else _within(named, precision, device),
    )


def _within(function: Callable[..., Any], precision: Precision, device: torch.device) -> Callable[..., Any]:
    enabled = precision is not Precision.FP32
    kind = _TYPES[precision] if enabled else None

    def computed(model: torch.nn.Module, batch: Any) -> Any:
        # Entered again for each batch: autocast caches the weights that it has cast, and an update changes them.
        with torch.autocast(device.type, dtype=kind, enabled=enabled):
            return function(model, batch)

    return computed


def _check(trial: BuiltProblem, precision: Precision, device: torch.device) -> None:
    if not torch.amp.is_autocast_available(device.type):
        raise UsageError(f"precision {precision} isn't possible on {device}: torch has no autocast there")
    if precision is Precision.BF16 and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise UsageError(f"precision {precision} isn't possible on {device}: the card has no bfloat16", hint="try fp16")
    if precision is Precision.FP16:
        half = [name for name, parameter in trial.model.named_parameters() if parameter.dtype is torch.float16]
        if half:
            raise UsageError(
                f"precision {precision} trains float32 parameters with a loss scaler, and {half[0]} is float16 already",
                hint="leave the precision at auto, or keep the parameters in float32",
            )
