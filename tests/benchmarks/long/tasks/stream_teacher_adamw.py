"""Imitating a random network from noisy answers, each seen once in 6,400 updates: a perceptron, AdamW."""

import torch
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

_draw = torch.Generator().manual_seed(20)
_SAMPLES, _HELD_OUT = 204_800, 2_000
_inputs = torch.randn(_SAMPLES + _HELD_OUT, 16, generator=_draw)
_first, _second = torch.randn(16, 32, generator=_draw) / 4, torch.randn(32, 1, generator=_draw) / 4
_targets = torch.tanh(2 * _inputs @ _first) @ _second + 0.1 * torch.randn(len(_inputs), 1, generator=_draw)

loss_fn = nn.MSELoss()


def model():
    return nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))


def train_loader(batch_size=32):
    data = TensorDataset(_inputs[:_SAMPLES], _targets[:_SAMPLES])
    return DataLoader(data, batch_size=None, sampler=BatchSampler(RandomSampler(data), batch_size, drop_last=True))


def val_loader():
    return DataLoader(TensorDataset(_inputs[_SAMPLES:], _targets[_SAMPLES:]), batch_size=_HELD_OUT)


def optimizer(params, lr):
    return torch.optim.AdamW(params, lr=lr)
