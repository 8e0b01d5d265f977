"""The Friedman regression of the public tasks, under Adagrad: a second dense one, with a large loss."""

import torch
from sklearn.datasets import make_friedman1
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

_features, _target = make_friedman1(n_samples=5000, n_features=10, noise=1.0, random_state=0)
_x = torch.tensor(_features, dtype=torch.float32)
_y = torch.tensor(_target, dtype=torch.float32).unsqueeze(1)

loss_fn = nn.MSELoss()


def model():
    return nn.Sequential(nn.Linear(10, 64), nn.GELU(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 1))


def train_loader(batch_size=64):
    return DataLoader(TensorDataset(_x[:4000], _y[:4000]), batch_size=batch_size, shuffle=True, drop_last=True)


def val_loader():
    return DataLoader(TensorDataset(_x[4000:], _y[4000:]), batch_size=1000)


def optimizer(params, lr):
    return torch.optim.Adagrad(params, lr=lr)
