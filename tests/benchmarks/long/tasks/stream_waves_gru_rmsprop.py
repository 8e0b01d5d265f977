"""How fast a noisy wave swings, each wave seen once: a recurrent network of sixteen units, RMSprop."""

import torch
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

_draw = torch.Generator().manual_seed(28)
_SAMPLES, _HELD_OUT, _LENGTH = 204_800, 2_000, 12
_count = _SAMPLES + _HELD_OUT
_swings, _begins = torch.rand(2, _count, 1, generator=_draw)
_waves = torch.sin((0.2 + _swings) * torch.arange(_LENGTH) + 2 * torch.pi * _begins)
_waves += 0.3 * torch.randn(_waves.shape, generator=_draw)
_inputs, _targets = _waves.unsqueeze(2), (_swings - 0.5) * 12**0.5  # of mean 0 and variance 1

loss_fn = nn.MSELoss()


class _Listener(nn.Module):
    def __init__(self):
        super().__init__()
        self.cells = nn.GRU(1, 16, batch_first=True)
        self.out = nn.Linear(16, 1)

    def forward(self, waves):
        return self.out(self.cells(waves)[0][:, -1])


def model():
    return _Listener()


def train_loader(batch_size=32):
    data = TensorDataset(_inputs[:_SAMPLES], _targets[:_SAMPLES])
    return DataLoader(data, batch_size=None, sampler=BatchSampler(RandomSampler(data), batch_size, drop_last=True))


def val_loader():
    return DataLoader(TensorDataset(_inputs[_SAMPLES:], _targets[_SAMPLES:]), batch_size=_HELD_OUT)


def optimizer(params, lr):
    return torch.optim.RMSprop(params, lr=lr)
