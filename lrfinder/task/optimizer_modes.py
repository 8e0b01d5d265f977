"""Switch optimizers between training and evaluation mode.

Schedule-free optimizers have such modes: they evaluate other weights than those that they train.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from lrfinder.task.problem import BuiltProblem


def training_modes(trial: BuiltProblem) -> None:
    """Call `train()` of every optimizer that has the methods `train` and `eval`."""
    for optimizer in _with_modes(trial):
        optimizer.train()


@contextlib.contextmanager
def judging_modes(trial: BuiltProblem) -> Iterator[None]:
    """Put every optimizer that has modes into evaluation mode, and back into training mode when the context ends."""
    optimizers = _with_modes(trial)
    for optimizer in optimizers:
        optimizer.eval()
    try:
        yield
    finally:
        for optimizer in optimizers:
            optimizer.train()


def _with_modes(trial: BuiltProblem) -> list[Any]:
    optimizers: list[Any] = [part.optimizer for part in trial.parts]
    return [
        optimizer
        for optimizer in optimizers
        if callable(getattr(optimizer, "train", None)) and callable(getattr(optimizer, "eval", None))
    ]
