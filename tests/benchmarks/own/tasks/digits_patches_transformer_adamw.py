"""A small vision transformer on 2x2 patches of 8x8 digits, AdamW."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

_digits = load_digits()
_x = torch.tensor(_digits.images, dtype=torch.float32) / 16.0
_x = _x.unfold(1, 2, 2).unfold(2, 2, 2).reshape(len(_x), 16, 4)
_y = torch.tensor(_digits.target)
_order = torch.randperm(len(_y), generator=torch.Generator().manual_seed(11))
_x, _y = _x[_order], _y[_order]

loss_fn = nn.CrossEntropyLoss()


class _Vit(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.embed, self.place = nn.Linear(4, width), nn.Parameter(0.02 * torch.randn(16, width))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 10))

    def forward(self, patches):
        return self.head(self.body(self.embed(patches) + self.place).mean(1))


def model():
    return _Vit()


def train_loader(batch_size=32):
    return DataLoader(TensorDataset(_x[:1400], _y[:1400]), batch_size=batch_size, shuffle=True, drop_last=True)


def val_loader():
    return DataLoader(TensorDataset(_x[1400:], _y[1400:]), batch_size=397)


def optimizer(params, lr):
    return torch.optim.AdamW(params, lr=lr, weight_decay=0.05)
