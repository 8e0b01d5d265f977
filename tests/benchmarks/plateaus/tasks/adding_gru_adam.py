"""The adding problem (Hochreiter & Schmidhuber 1997) over 20 steps, a GRU, Adam: a plateau at the variance."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

_COUNT, _STEPS = 3000, 20
_generator = torch.Generator().manual_seed(15)
_values = torch.rand(_COUNT, _STEPS, generator=_generator)
_first = torch.randint(0, _STEPS // 2, (_COUNT,), generator=_generator)
_second = torch.randint(_STEPS // 2, _STEPS, (_COUNT,), generator=_generator)
_marks = torch.zeros(_COUNT, _STEPS)
_marks[torch.arange(_COUNT), _first] = 1
_marks[torch.arange(_COUNT), _second] = 1
_x = torch.stack([_values, _marks], 2)
_y = (_values * _marks).sum(1, keepdim=True)

loss_fn = nn.MSELoss()


class Adder(nn.Module):
    def __init__(self):
        super().__init__()
        self.recurrent = nn.GRU(2, 32, batch_first=True)
        self.out = nn.Linear(32, 1)

    def forward(self, x):
        return self.out(self.recurrent(x)[0][:, -1])


model = Adder


def train_loader(batch_size=64):
    return DataLoader(TensorDataset(_x[:2500], _y[:2500]), batch_size=batch_size, shuffle=True, drop_last=True)


def val_loader():
    return DataLoader(TensorDataset(_x[2500:], _y[2500:]), batch_size=500)


def optimizer(params, lr):
    return torch.optim.Adam(params, lr=lr)
