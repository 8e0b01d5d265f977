"""The updates of torch's SGD, Adam and AdamW for several members at once, each at its own rate.

The formulas are torch's (torch.optim.sgd, torch.optim.adam). The first axis of every tensor counts the members. The
weights of a param group are in one tensor, so an update is a few operations for any number of layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch

from lrfinder.optimizers import traits_of

State = Mapping[str, Any]  # of one parameter, as `optimizer.state` holds it


class NotStackable(Exception):  # noqa: N818 - no error: an expected outcome, with its reason
    """These trials can't be trained at once; the message says why."""


class Update(Protocol):
    """Changes the weights of a group, members x weights, by their gradient; `rates` are members x 1."""

    state: dict[str, torch.Tensor]  # members x weights each

    def __call__(self, weights: torch.Tensor, gradient: torch.Tensor, rates: torch.Tensor) -> None:
        """Make the update in place; rates are in double precision, as torch's are."""


class Sgd:
    """g = gradient + decay * w;   b = momentum * b + (1 - dampening) * g, at first g;   w -= rate * b.

    With Nesterov's momentum w -= rate * (g + momentum * b). Source: torch.optim.sgd.
    """

    def __init__(self, settings: Mapping[str, Any], state: dict[str, torch.Tensor]) -> None:
        self._settings = settings
        self.state = state

    def __call__(self, weights: torch.Tensor, gradient: torch.Tensor, rates: torch.Tensor) -> None:
        """Make the update in place."""
        settings = self._settings
        step = gradient
        if settings["weight_decay"]:
            step = step.add(weights, alpha=settings["weight_decay"])
        if settings["momentum"]:
            if "momentum_buffer" in self.state:
                buffer = self.state["momentum_buffer"]
                buffer.mul_(settings["momentum"]).add_(step, alpha=1 - settings["dampening"])
            else:
                buffer = self.state["momentum_buffer"] = step.clone()
            step = step.add(buffer, alpha=settings["momentum"]) if settings["nesterov"] else buffer
        weights.sub_(rates.to(weights.dtype) * step)


class Adam:
    """m = b1 m + (1 - b1) g;   v = b2 v + (1 - b2) g^2;   w -= rate / (1 - b1^t) * m / (sqrt(v / (1 - b2^t)) + eps).

    Weight decay is added to the gradient, or, decoupled (AdamW), w is first multiplied by 1 - rate * decay.
    Source: torch.optim.adam.
    """

    def __init__(
        self, settings: Mapping[str, Any], state: dict[str, torch.Tensor], steps: int, *, decoupled: bool
    ) -> None:
        self._settings = settings
        self.state = state
        self._steps = steps
        self._decoupled = decoupled

    def __call__(self, weights: torch.Tensor, gradient: torch.Tensor, rates: torch.Tensor) -> None:
        """Make the update in place."""
        settings = self._settings
        beta1, beta2 = settings["betas"]
        self._steps += 1
        decay = settings["weight_decay"]
        if decay and self._decoupled:
            weights.mul_((1 - rates * decay).to(weights.dtype))
        elif decay:
            gradient = gradient.add(weights, alpha=decay)
        if not self.state:
            self.state = {"exp_avg": torch.zeros_like(weights), "exp_avg_sq": torch.zeros_like(weights)}
        mean, square = self.state["exp_avg"], self.state["exp_avg_sq"]
        mean.lerp_(gradient, 1 - beta1)
        square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        scale = (square.sqrt() / (1 - beta2**self._steps) ** 0.5).add_(settings["eps"])
        size = (rates / (1 - beta1**self._steps)).to(weights.dtype)
        weights.sub_(size * mean / scale)


def update_of(optimizer: torch.optim.Optimizer, group: Mapping[str, Any], count: int) -> Update:
    """Return the update of a param group for `count` members, from the optimizer's state as it is now.

    Raises NotStackable if the formula for it isn't here.
    """
    kind = type(optimizer)
    if getattr(torch.optim, kind.__name__, None) is not kind or not traits_of(kind.__name__).stackable:
        raise NotStackable(f"the update of {kind.__name__} isn't known for several at once")
    for name in ("maximize", "amsgrad", "differentiable", "capturable"):
        if group.get(name):
            raise NotStackable(f"{name}=True isn't known for several at once")
    states = [optimizer.state.get(parameter, {}) for parameter in group["params"]]
    if kind is torch.optim.SGD:
        return Sgd(group, _stacked(states, ("momentum_buffer",), count))
    if any(isinstance(beta, torch.Tensor) for beta in group["betas"]):
        raise NotStackable("betas that are tensors aren't known for several at once")
    steps = {int(state["step"]) for state in states if state}
    if len(steps) > 1:
        raise NotStackable("parameters of one group have made different numbers of updates")
    decoupled = group.get("decoupled_weight_decay", kind is torch.optim.AdamW)  # torch before 2.7 has no such key
    stacked = _stacked(states, ("exp_avg", "exp_avg_sq"), count)
    return Adam(group, stacked, steps.pop() if steps else 0, decoupled=decoupled)


def side_by_side(values: Sequence[torch.Tensor], count: int) -> torch.Tensor:
    """Return the values flat in a row, `count` times: count x values."""
    return torch.cat([value.detach().reshape(-1) for value in values]).expand(count, -1).clone()


def _stacked(states: Sequence[State], names: Sequence[str], count: int) -> dict[str, torch.Tensor]:
    """Return the state of all parameters for all members; empty if no parameter has one yet."""
    found = {name: [state.get(name) for state in states] for name in names}
    there = [value is not None for values in found.values() for value in values]
    if not any(there):
        return {}
    if not all(there):
        raise NotStackable("some parameters of a group have been updated before, and some have not")
    return {
        name: side_by_side([value for value in values if value is not None], count) for name, values in found.items()
    }
