"""Regression on the diabetes data with targets as they are: squared errors in the tens of thousands, Adam."""

import torch
from sklearn.datasets import load_diabetes
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

_data = load_diabetes()
_order = torch.randperm(len(_data.target), generator=torch.Generator().manual_seed(7))
_x = torch.tensor(_data.data, dtype=torch.float32)[_order] * 20
_y = torch.tensor(_data.target, dtype=torch.float32)[_order, None]

loss_fn = nn.MSELoss()


def model():
    return nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))


def train_loader(batch_size=32):
    return DataLoader(TensorDataset(_x[:352], _y[:352]), batch_size=batch_size, shuffle=True, drop_last=True)


def val_loader():
    return DataLoader(TensorDataset(_x[352:], _y[352:]), batch_size=90)


def optimizer(params, lr):
    return torch.optim.Adam(params, lr=lr)
