"""The weights that the script trains: those of the optimizers that it has made, and whether they have moved."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

import torch


class MadeOptimizers:
    """Knows every optimizer of the script that is alive, from when it is made on."""

    def __init__(self) -> None:
        self._made: weakref.WeakSet[torch.optim.Optimizer] = weakref.WeakSet()
        kind: Any = torch.optim.Optimizer
        real = kind.add_param_group

        def add_param_group(this: torch.optim.Optimizer, group: Any) -> Any:
            self._made.add(this)
            return real(this, group)

        kind.add_param_group = add_param_group

    def others_than(self, optimizer: torch.optim.Optimizer) -> list[torch.optim.Optimizer]:
        """Return those that share no weight with `optimizer`."""
        own = {id(weight) for weight in weights_of(optimizer)}
        return [other for other in self._made if all(id(weight) not in own for weight in weights_of(other))]

    def place(self) -> list[float]:
        """Return where all weights are: the norm of each, which differs as soon as one has moved."""
        all_weights = (weight for optimizer in self._made for weight in weights_of(optimizer))
        weights = {id(weight): weight for weight in all_weights if _can_move(weight)}
        with torch.no_grad():
            return [_norm(weight) for weight in weights.values()]


def _can_move(weight: torch.Tensor) -> bool:
    """Tell whether it can be trained: no weight of 8 bits, or fewer packed in whole numbers."""
    return weight.is_complex() or (weight.is_floating_point() and weight.element_size() > 1)


def _norm(weight: Any) -> float:
    values = weight.to_local() if hasattr(weight, "to_local") else weight  # of a shard alone
    values = torch.view_as_real(values) if values.is_complex() else values
    exact = torch.promote_types(values.dtype, torch.float32)  # of half precision a norm would have three digits
    return float(torch.linalg.vector_norm(values, dtype=exact))


def weights_of(owner: torch.optim.Optimizer | torch.nn.Module) -> Iterator[torch.Tensor]:
    """Yield the weights of an optimizer or a module."""
    if isinstance(owner, torch.nn.Module):
        yield from owner.parameters()
    else:
        for group in owner.param_groups:
            yield from group["params"]


def all_finite(optimizer: torch.optim.Optimizer) -> bool:
    """Tell whether every number of its weights is finite."""
    return all(bool(weight.detach().isfinite().all()) for weight in weights_of(optimizer))


def largest_of(optimizer: torch.optim.Optimizer) -> float:
    """Return the size of the largest of its weights; NaN if one is."""
    weights = [weight.detach() for weight in weights_of(optimizer) if weight.numel() and _can_move(weight)]
    return float(torch.stack([weight.abs().max().float().cpu() for weight in weights]).max())
