"""Matrix factorisation of made-up ratings with a few popular items, embeddings and Adagrad."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

_draw = torch.Generator().manual_seed(10)
_users = torch.randint(0, 200, (12000,), generator=_draw)
_items = (300 * torch.rand(12000, generator=_draw) ** 3).long()  # a few of them take most of the ratings
_taste, _kind = torch.randn(200, 4, generator=_draw), torch.randn(300, 4, generator=_draw)
_noise = 0.5 * torch.randn(12000, generator=_draw)
_ratings = (_taste[_users] * _kind[_items]).sum(1) / 2 + _noise
_pairs = torch.stack((_users, _items), 1)

loss_fn = nn.MSELoss()


class _Factors(nn.Module):
    def __init__(self):
        super().__init__()
        self.users, self.items = nn.Embedding(200, 8), nn.Embedding(300, 8)
        for table in (self.users, self.items):
            nn.init.normal_(table.weight, std=0.1)

    def forward(self, pairs):
        return (self.users(pairs[:, 0]) * self.items(pairs[:, 1])).sum(1)


def model():
    return _Factors()


def train_loader(batch_size=128):
    return DataLoader(TensorDataset(_pairs[:10000], _ratings[:10000]), batch_size=batch_size, shuffle=True)


def val_loader():
    return DataLoader(TensorDataset(_pairs[10000:], _ratings[10000:]), batch_size=500)


def optimizer(params, lr):
    return torch.optim.Adagrad(params, lr=lr)
