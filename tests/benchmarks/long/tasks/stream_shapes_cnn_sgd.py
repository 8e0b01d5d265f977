"""Which of four shapes lies in a noisy picture, each seen once, a tenth mislabelled: two convolutions, SGD."""

import torch
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

_draw = torch.Generator().manual_seed(26)
_SAMPLES, _HELD_OUT, _SIDE, _WRONG = 204_800, 2_000, 10, 0.1
_SHAPES = torch.tensor(
    [
        [[0, 1, 0], [1, 1, 1], [0, 1, 0]],
        [[1, 0, 1], [0, 1, 0], [1, 0, 1]],
        [[1, 1, 1], [1, 0, 1], [1, 1, 1]],
        [[1, 1, 1], [0, 1, 0], [0, 1, 0]],
    ],
    dtype=torch.float32,
)
_count = _SAMPLES + _HELD_OUT
_labels = torch.randint(4, (_count,), generator=_draw)
_pictures = torch.randn(_count, 1, _SIDE, _SIDE, generator=_draw).mul_(0.5)
_tops, _lefts = torch.randint(_SIDE - 2, (2, _count), generator=_draw)
_all = torch.arange(_count)
for _row in range(3):
    for _column in range(3):
        _pictures[_all, 0, _tops + _row, _lefts + _column] += _SHAPES[_labels, _row, _column]
_mislabelled = torch.rand(_count, generator=_draw) < _WRONG
_labels[_mislabelled] = torch.randint(4, (int(_mislabelled.sum()),), generator=_draw)

loss_fn = nn.CrossEntropyLoss()


def model():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 3 * 3, 4),
    )


def train_loader(batch_size=32):
    data = TensorDataset(_pictures[:_SAMPLES], _labels[:_SAMPLES])
    return DataLoader(data, batch_size=None, sampler=BatchSampler(RandomSampler(data), batch_size, drop_last=True))


def val_loader():
    return DataLoader(TensorDataset(_pictures[_SAMPLES:], _labels[_SAMPLES:]), batch_size=_HELD_OUT)


def optimizer(params, lr):
    return torch.optim.SGD(params, lr=lr, momentum=0.9)
