"""An update as two graphs: the loss of a batch with its gradient, and the step of the optimizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from lrfinder.engine.cuda_graphs.capture import GraphCapture
from lrfinder.engine.data.prefetch import tensors_in
from lrfinder.task.batches import is_structure, parts_of, with_parts

# What a batch may hold besides tensors. It is built into the graph, so another batch must hold an equal value.
_PLAIN = frozenset({bool, int, float, str, bytes, type(None)})


class GraphedUpdate:
    """Replays an update for batches of one shape: `loss(batch)`, then `step()`.

    The batch is copied over the captured one. The next call overwrites the loss and the gradients, too.
    """

    def __init__(
        self,
        capture: GraphCapture,
        batch: Any,
        *,
        device: torch.device,
        loss: Callable[[Any], torch.Tensor],
        step: Callable[[], object],
    ) -> None:
        """Capture `loss(batch)`, which leaves the gradient in the parameters, and `step()`, which reads it.

        Raises what `capture` raises for work that can't be captured. The weights are undefined then.
        """
        self._shape = shape_of(batch)
        self._batch = _copy(batch, device)
        self._targets = tensors_in(self._batch) or ()
        self._loss, self._replay_loss = capture.capture(lambda: loss(self._batch))
        _, self._replay_step = capture.capture(step)

    def takes(self, batch: Any) -> bool:
        """Return whether `batch` has the shape of the captured one; if not, its update is made without the graphs."""
        return shape_of(batch) == self._shape

    def loss(self, batch: Any) -> torch.Tensor:
        """Return the loss of `batch`, without waiting for it, and leave its gradient for `step`."""
        for target, tensor in zip(self._targets, tensors_in(batch) or (), strict=True):
            target.copy_(tensor, non_blocking=True)
        self._replay_loss()
        return self._loss

    def step(self) -> None:
        """Make the step with the gradient and the rates that are there now."""
        self._replay_step()


def shape_of(batch: Any) -> tuple[object, ...] | None:
    """Return what two batches must have in common for the same graphs; None if `batch` can't be captured.

    That is the structure, each tensor's shape and type, and every value that is no tensor.
    """
    if isinstance(batch, torch.Tensor):
        return (tuple(batch.shape), batch.dtype) if batch.layout is torch.strided else None
    if is_structure(batch):
        parts = [shape_of(part) for part in parts_of(batch)]
        if any(part is None for part in parts):
            return None
        keys = tuple(batch) if hasattr(batch, "keys") else ()
        return (type(batch), keys, *parts)
    return (type(batch), batch) if type(batch) in _PLAIN else None


def _copy(batch: Any, device: torch.device) -> Any:
    """Return `batch` in memory of its own on `device`: the loader's own batch is never written to."""
    if isinstance(batch, torch.Tensor):
        return batch.detach().to(device, copy=True)
    return with_parts(batch, lambda part: _copy(part, device)) if is_structure(batch) else batch
