"""Ten classes of three clusters each, one label in ten wrong, seen once in 6,400 updates: batch normalization, SGD."""

import torch
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

_draw = torch.Generator().manual_seed(21)
_SAMPLES, _HELD_OUT = 204_800, 2_000
_centres = 1.2 * torch.randn(30, 12, generator=_draw)
_cluster = torch.randint(30, (_SAMPLES + _HELD_OUT,), generator=_draw)
_inputs = _centres[_cluster] + torch.randn(len(_cluster), 12, generator=_draw)
_wrong = torch.rand(len(_cluster), generator=_draw) < 0.1
_targets = torch.where(_wrong, torch.randint(10, _cluster.shape, generator=_draw), _cluster % 10)

loss_fn = nn.CrossEntropyLoss()


def model():
    return nn.Sequential(
        nn.Linear(12, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
    )


def train_loader(batch_size=32):
    data = TensorDataset(_inputs[:_SAMPLES], _targets[:_SAMPLES])
    return DataLoader(data, batch_size=None, sampler=BatchSampler(RandomSampler(data), batch_size, drop_last=True))


def val_loader():
    return DataLoader(TensorDataset(_inputs[_SAMPLES:], _targets[_SAMPLES:]), batch_size=_HELD_OUT)


def optimizer(params, lr):
    return torch.optim.SGD(params, lr=lr, momentum=0.9)
