"""What running an exported schedule takes in every framework on torch: optimizers, and the steps of a training loop."""

from __future__ import annotations

from typing import Any

import torch

PEAK_ELSEWHERE = 0.7  # the rate that live optimizers are built with: the export must not depend on it


def names_of(text: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "exported"}
    exec(text, names)  # noqa: S102 - our own text
    return names


def stepped(optimizer: Any, scheduler: Any, steps: int) -> list[list[float]]:
    """Step both as a training loop does; the rates that each update uses, group by group."""
    used = []
    for step in range(steps):
        used.append([float(group["lr"]) for group in optimizer.param_groups])
        optimizer.step()
        if step + 1 < steps:
            scheduler.step()
    return used


def parameters() -> list[Any]:
    return [torch.nn.Parameter(torch.zeros(2)) for _ in range(2)]


def elsewhere() -> torch.optim.Optimizer:
    """An optimizer at a rate of its own."""
    return torch.optim.SGD(parameters(), lr=PEAK_ELSEWHERE)


def grouped() -> torch.optim.Optimizer:
    """An optimizer with two param groups at rates of their own, the second's a quarter of the first's."""
    first, second = parameters()
    return torch.optim.SGD([{"params": [first], "lr": PEAK_ELSEWHERE}, {"params": [second], "lr": PEAK_ELSEWHERE / 4}])
