"""Do two words belong together, rare words and common ones, each pair seen once: two tables of embeddings, Adam."""

import torch
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

_draw = torch.Generator().manual_seed(27)
_SAMPLES, _HELD_OUT, _WORDS, _RANK = 409_600, 8_000, 1_000, 4
_often = 1 / torch.arange(1, _WORDS + 1, dtype=torch.float32)  # Zipf's law
_count = _SAMPLES + _HELD_OUT
_left, _right = torch.multinomial(_often, 2 * _count, replacement=True, generator=_draw).view(2, _count)
_meanings = torch.randn(2, _WORDS, _RANK, generator=_draw)
_closeness = (_meanings[0, _left] * _meanings[1, _right]).sum(1)
_together = torch.bernoulli(torch.sigmoid(1.5 * _closeness), generator=_draw)
_pairs = torch.stack((_left, _right), 1)

loss_fn = nn.BCEWithLogitsLoss()


class _Pairs(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Embedding(_WORDS, 16), nn.Embedding(_WORDS, 16)
        for table in (self.left, self.right):
            nn.init.normal_(table.weight, std=0.1)

    def forward(self, pairs):
        return (self.left(pairs[:, 0]) * self.right(pairs[:, 1])).sum(1)


def model():
    return _Pairs()


def train_loader(batch_size=64):
    data = TensorDataset(_pairs[:_SAMPLES], _together[:_SAMPLES])
    return DataLoader(data, batch_size=None, sampler=BatchSampler(RandomSampler(data), batch_size, drop_last=True))


def val_loader():
    return DataLoader(TensorDataset(_pairs[_SAMPLES:], _together[_SAMPLES:]), batch_size=_HELD_OUT)


def optimizer(params, lr):
    return torch.optim.Adam(params, lr=lr)
