"""Logistic regression on features of very different scales, each sample seen once in 6,400 updates: SGD."""

import torch
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

_draw = torch.Generator().manual_seed(22)
_SAMPLES, _HELD_OUT = 204_800, 2_000
_scales = torch.logspace(0, -1.5, 24)
_plain = torch.randn(_SAMPLES + _HELD_OUT, 24, generator=_draw)
_truth = torch.randn(24, generator=_draw)
_targets = (torch.rand(len(_plain), generator=_draw) < torch.sigmoid(1.5 * _plain @ _truth)).float()[:, None]
_inputs = _plain * _scales

loss_fn = nn.BCEWithLogitsLoss()


def model():
    return nn.Linear(24, 1)


def train_loader(batch_size=32):
    data = TensorDataset(_inputs[:_SAMPLES], _targets[:_SAMPLES])
    return DataLoader(data, batch_size=None, sampler=BatchSampler(RandomSampler(data), batch_size, drop_last=True))


def val_loader():
    return DataLoader(TensorDataset(_inputs[_SAMPLES:], _targets[_SAMPLES:]), batch_size=_HELD_OUT)


def optimizer(params, lr):
    return torch.optim.SGD(params, lr=lr)
