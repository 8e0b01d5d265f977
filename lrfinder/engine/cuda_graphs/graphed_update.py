"""An update as two recordings: the loss of a batch with its gradient, and the step of the optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from lrfinder.engine.cuda_graphs.capture import GraphCapture
from lrfinder.task.batches import is_structure, parts_of, with_parts

# What may lie in a batch besides tensors: a recording has it built in, so another batch must hold an equal one.
_PLAIN = frozenset({bool, int, float, str, bytes, type(None)})


class GraphedUpdate:
    """Repeats an update for batches of one shape: `loss(batch)`, then `step()`.

    The batch is copied to where the recorded one lies. Losses and gradients lie where they were recorded, too: the
    next call overwrites them.
    """

    def __init__(
        self,
        recorder: GraphCapture,
        batch: Any,
        *,
        device: torch.device,
        loss: Callable[[Any], torch.Tensor],
        step: Callable[[], object],
    ) -> None:
        """Record `loss(batch)`, which leaves the gradient behind, and `step()`, which reads it.

        Raises whatever can't be recorded raises; the weights may be anything then.
        """
        self._shape = shape_of(batch)
        self._batch = _copy(batch, device)
        self._places = list(_tensors(self._batch))
        self._loss, self._repeat_loss = recorder.record(lambda: loss(self._batch))
        _, self._repeat_step = recorder.record(step)

    def takes(self, batch: Any) -> bool:
        """Return whether `batch` has the shape of the recorded one: else its update is made without the recording."""
        return shape_of(batch) == self._shape

    def loss(self, batch: Any) -> torch.Tensor:
        """Return the loss of `batch`; its gradient is there for `step`. It isn't waited for."""
        for place, tensor in zip(self._places, _tensors(batch), strict=True):
            place.copy_(tensor, non_blocking=True)
        self._repeat_loss()
        return self._loss

    def step(self) -> None:
        """Make the step by the gradient that is there, at the rates that are there."""
        self._repeat_step()


def shape_of(batch: Any) -> tuple[object, ...] | None:
    """Return what two batches have in common that the same recording serves; None where none does.

    That is the structure, each tensor's shape and type, and everything that is no tensor.
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


def _tensors(batch: Any) -> Iterator[torch.Tensor]:
    if isinstance(batch, torch.Tensor):
        yield batch
    elif is_structure(batch):
        for part in parts_of(batch):
            yield from _tensors(part)


def _copy(batch: Any, device: torch.device) -> Any:
    """Return `batch` in memory of its own on `device`: what the loader hands out is never written to."""
    if isinstance(batch, torch.Tensor):
        return batch.detach().to(device, copy=True)
    return with_parts(batch, lambda part: _copy(part, device)) if is_structure(batch) else batch
