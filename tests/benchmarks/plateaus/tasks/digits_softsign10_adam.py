"""Nine softsign layers on 8x8 digits, Adam: a plateau before anything is learned."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

_digits = load_digits()
_x = torch.tensor(_digits.data, dtype=torch.float32) / 16.0
_y = torch.tensor(_digits.target)
_order = torch.randperm(len(_y), generator=torch.Generator().manual_seed(24))
_x, _y = _x[_order], _y[_order]

loss_fn = nn.CrossEntropyLoss()


def model():
    layers = [nn.Linear(64, 64), nn.Softsign()]
    for _ in range(8):
        layers += [nn.Linear(64, 64), nn.Softsign()]
    return nn.Sequential(*layers, nn.Linear(64, 10))


def train_loader(batch_size=64):
    return DataLoader(TensorDataset(_x[:1400], _y[:1400]), batch_size=batch_size, shuffle=True, drop_last=True)


def val_loader():
    return DataLoader(TensorDataset(_x[1400:], _y[1400:]), batch_size=397)


def optimizer(params, lr):
    return torch.optim.Adam(params, lr=lr)
