"""The parity of 3 of 16 bits, a perceptron, Adam: a plateau at chance."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

_bits = torch.randint(0, 2, (4000, 16), generator=torch.Generator().manual_seed(16)).float() * 2 - 1
_odd = (_bits[:, 0] * _bits[:, 1] * _bits[:, 2] > 0).long()

loss_fn = nn.CrossEntropyLoss()


def model():
    return nn.Sequential(nn.Linear(16, 128), nn.ReLU(), nn.Linear(128, 2))


def train_loader(batch_size=64):
    return DataLoader(TensorDataset(_bits[:3500], _odd[:3500]), batch_size=batch_size, shuffle=True, drop_last=True)


def val_loader():
    return DataLoader(TensorDataset(_bits[3500:], _odd[3500:]), batch_size=500)


def optimizer(params, lr):
    return torch.optim.Adam(params, lr=lr)
