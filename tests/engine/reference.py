"""A slow, clear range test in plain torch: what the engine computes, without a fast path and without the package.

Everything is on a CPU, the batches are a list, and the model draws nothing, so that no generator matters.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

Batch = tuple[torch.Tensor, torch.Tensor]
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def sweep(
    model: nn.Module,
    optimizer: Callable[[Any], torch.optim.Optimizer],
    loss: Loss,
    batches: Sequence[Batch],
    rates: Sequence[float],
    *,
    accumulate: int = 1,
    probe: bool = False,
    val: Sequence[Batch] = (),
) -> list[float]:
    """Return the loss that follows the update at each of `rates`: of the next batches, or of those held out."""
    model = copy.deepcopy(model)
    steps = optimizer(model.parameters())
    source = itertools.cycle(batches)
    held_out = [next(source)] if probe else list(val)
    group = list(itertools.islice(source, accumulate))
    losses = []
    for rate in rates:
        update(model, steps, loss, group, rate)
        group = list(itertools.islice(source, accumulate))
        losses.append(judge(model, loss, held_out) if held_out else mean(model, loss, group).item())
    return losses


def short_run(
    model: nn.Module,
    optimizer: Callable[[Any], torch.optim.Optimizer],
    loss: Loss,
    batches: Sequence[Batch],
    rates: Sequence[float],
    val: Sequence[Batch],
) -> float:
    """Return the held-out loss after an update at each of `rates`."""
    model = copy.deepcopy(model)
    steps, source = optimizer(model.parameters()), itertools.cycle(batches)
    for rate in rates:
        update(model, steps, loss, [next(source)], rate)
    return judge(model, loss, val)


def update(model: nn.Module, steps: torch.optim.Optimizer, loss: Loss, group: Sequence[Batch], rate: float) -> None:
    """Make an update at `rate` by the mean gradient of a group of batches."""
    for settings in steps.param_groups:
        settings["lr"] = rate
    steps.zero_grad()
    for part in parts(model, loss, group):
        part.backward()
    steps.step()


def mean(model: nn.Module, loss: Loss, group: Sequence[Batch]) -> torch.Tensor:
    """Return the mean training loss of a group of batches."""
    return torch.stack([part.detach() for part in parts(model, loss, group)]).sum()


def parts(model: nn.Module, loss: Loss, group: Sequence[Batch]) -> Iterator[torch.Tensor]:
    """Yield the share of each batch in the loss of a group."""
    for inputs, target in group:
        yield loss(model(inputs), target) * (1.0 / len(group))


@torch.no_grad()
def judge(model: nn.Module, loss: Loss, batches: Sequence[Batch]) -> float:
    """Return the mean loss over held-out batches by their sizes, in double precision."""
    total = sum(loss(model(inputs), target).double() * len(inputs) for inputs, target in batches)
    return float(total / sum(len(inputs) for inputs, _ in batches))
