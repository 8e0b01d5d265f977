"""The model files of the speed benchmark: `speed_models.py:tiny`, `cnn`, `transformer`, `large`.

Each notes the time of every forward pass in `STARTS`, on a GPU also by an event in `EVENTS`, which the device itself
times: that is how updates are timed, whatever drives them.
The environment's SPEED_WORKERS is the number of the loader's worker processes.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

# At the beginning of every forward pass in training mode: time.perf_counter() and time.process_time().
STARTS: list[tuple[float, float]] = []
EVENTS: list[torch.cuda.Event] = []
PASSES = 40  # batches of an epoch
WORKERS = int(os.environ.get("SPEED_WORKERS", "0"))


class Timed(nn.Module):
    """A model that notes when it is called."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Note the time and compute the output."""
        if self.training:
            STARTS.append((time.perf_counter(), time.process_time()))
            if inputs.is_cuda:
                EVENTS.append(torch.cuda.Event(enable_timing=True))
                EVENTS[-1].record()
        return self.model(inputs)


class Transformer(nn.Module):
    """Two blocks over 32 tokens; the class is read from their mean."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(64, 64), nn.Parameter(torch.randn(32, 64) / 8)
        block = nn.TransformerEncoderLayer(64, 4, 256, dropout=0.0, batch_first=True)
        self.blocks = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
        self.head = nn.Linear(64, 10)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the logits of (batch, 32) tokens."""
        return self.head(self.blocks(self.tokens(tokens) + self.positions).mean(1))


def tiny() -> dict[str, Any]:
    """A perceptron of 2,410 parameters: an update is overhead alone."""
    return _names(lambda: nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)), _numbers(64), batch=32)


def cnn() -> dict[str, Any]:
    """Three convolutions with batch normalisation over 3 x 32 x 32 pixels."""

    def made() -> nn.Module:
        layers: list[nn.Module] = []
        for before, after in ((3, 16), (16, 32), (32, 32)):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, 10))

    return _names(made, _numbers(3, 32, 32), batch=32)


def transformer() -> dict[str, Any]:
    """Two blocks of width 64."""
    return _names(Transformer, lambda count: torch.randint(0, 64, (count, 32)), batch=16)


def large() -> dict[str, Any]:
    """A perceptron of 25.2 million parameters: the update of the weights counts most."""
    widths = (1024, 3072, 3072, 3072)

    def made() -> nn.Module:
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(3072, 1000))

    return _names(made, _numbers(1024), batch=16)


def _numbers(*shape: int) -> Callable[[int], torch.Tensor]:
    return lambda count: torch.randn(count, *shape)


def _names(model: Callable[[], nn.Module], inputs: Callable[[int], torch.Tensor], *, batch: int) -> dict[str, Any]:
    torch.manual_seed(0)
    made = inputs(batch * PASSES)
    features = nn.functional.one_hot(made, 64).float().sum(1) if made.dtype is torch.int64 else made.flatten(1)
    classes = (features @ torch.randn(features.shape[1], 10)).argmax(1)  # learnable: a sweep must have a fall to find
    data = TensorDataset(made, classes)
    return {
        "model": lambda: Timed(model()),
        "train_loader": DataLoader(data, batch_size=batch, shuffle=True, drop_last=True, num_workers=WORKERS),
        "loss_fn": nn.CrossEntropyLoss(),
        "optimizer": lambda params, lr: torch.optim.AdamW(params, lr=lr),
    }
