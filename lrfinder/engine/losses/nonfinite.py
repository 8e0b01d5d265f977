"""Find numbers that aren't finite: in weights, even if the loss doesn't show them, and where they came from."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn
from torch.nn.utils import get_total_norm

from lrfinder.engine.runtime.divided import is_divided_model, local_part
from lrfinder.options import FINITE_WEIGHTS, TOO_NARROW

# 1e-8, Adam's eps, is 0 in float16.
_TOO_NARROW = f"; it is float16, {TOO_NARROW}: keep weights in float32, and train with --precision fp16"
EVERY = 8  # updates between two checks of the weights: engine/README.md#every


class WeightsTotal:
    """One number that isn't finite if a parameter of `model` isn't.

    On a CPU it is the sum of all, which shows every NaN and infinity. It may also overflow: ask `all_finite` then. On a
    GPU it is the largest magnitude, since a few kernels find that for all parameters together; a CPU takes longer. If
    the weights are divided over processes it is 0 or NaN, of this process's part alone, and `shared`.
    """

    def __init__(self, model: nn.Module) -> None:
        self.shared = is_divided_model(model)
        parts = map(local_part, model.parameters())
        self._weights = [weight for weight in parts if weight.is_floating_point() and weight.numel()]
        self._on_gpu = any(weight.is_cuda for weight in self._weights)

    def total(self) -> torch.Tensor | float | None:
        """Return the number now, on a GPU without waiting for it; None if there are no parameters."""
        if self.shared:
            return 0.0 if all(map(_is_finite, self._weights)) else math.nan
        if not self._weights:
            return None
        if not self._on_gpu:
            return sum([_wide_sum(weight.data).item() for weight in self._weights])  # .detach() takes longer
        with torch.no_grad():
            return get_total_norm(self._weights, math.inf)


def all_finite(model: nn.Module) -> bool:
    """Return whether every number of every parameter of `model` is finite."""
    return _first_bad(model.named_parameters()) is None


def locate_nonfinite(model: nn.Module, *, gradients: bool = True) -> str:
    """Return in words where a loss that isn't finite came from, as far as `model` shows it after the last update.

    `gradients`: those of the last update are still there. It reads every parameter, so call it only at the end.
    """
    weight = _first_bad(model.named_parameters())
    if weight is None:
        buffer = _first_bad(model.named_buffers())
        if buffer is not None:
            return f"the weights are finite, the buffer {buffer!r} is not"
        return FINITE_WEIGHTS
    slopes = ((name, parameter.grad) for name, parameter in model.named_parameters())
    gradient = _first_bad((name, slope) for name, slope in slopes if slope is not None) if gradients else None
    if gradient is not None:
        return f"the gradient of {gradient!r} is not finite, and so the weight {weight!r} is not"
    half = dict(model.named_parameters())[weight].dtype is torch.float16
    return f"the weight {weight!r} is not finite" + (_TOO_NARROW if half else "")


def _wide_sum(values: torch.Tensor) -> torch.Tensor:
    return values.sum(dtype=torch.float32 if values.dtype.itemsize < 4 else None)  # noqa: PLR2004 - half precision


def _first_bad(named: Iterable[tuple[str, torch.Tensor]]) -> str | None:
    return next((name for name, values in named if not _is_finite(values)), None)


def _is_finite(values: torch.Tensor) -> bool:
    if not (values.is_floating_point() or values.is_complex()):
        return True
    dense = values.detach().coalesce().values() if values.is_sparse else values.detach()
    return bool(dense.isfinite().all())
