"""A GRU that tells how deep a sequence of brackets is nested at its end, RMSprop."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

_draw = torch.Generator().manual_seed(9)
_steps = torch.randint(0, 2, (2400, 20), generator=_draw)
_depth = torch.zeros(2400, dtype=torch.long)
for _column in _steps.T:
    _depth = (_depth + 2 * _column - 1).clamp(0, 5)

loss_fn = nn.CrossEntropyLoss()


class _Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(2, 8)
        self.gru = nn.GRU(8, 24, batch_first=True)
        self.head = nn.Linear(24, 6)

    def forward(self, steps):
        _, last = self.gru(self.embed(steps))
        return self.head(last[0])


def model():
    return _Reader()


def train_loader(batch_size=64):
    return DataLoader(TensorDataset(_steps[:2000], _depth[:2000]), batch_size=batch_size, shuffle=True, drop_last=True)


def val_loader():
    return DataLoader(TensorDataset(_steps[2000:], _depth[2000:]), batch_size=400)


def optimizer(params, lr):
    return torch.optim.RMSprop(params, lr=lr)
