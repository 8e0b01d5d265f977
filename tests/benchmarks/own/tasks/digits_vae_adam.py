"""Variational autoencoder on 8x8 digits, Adam: a loss that draws noise, reconstruction plus divergence."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

_x = torch.tensor(load_digits().data, dtype=torch.float32) / 16.0
_x = _x[torch.randperm(len(_x), generator=torch.Generator().manual_seed(8))]


class _Vae(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 16))
        self.decoder = nn.Sequential(nn.Linear(8, 96), nn.ReLU(), nn.Linear(96, 64))

    def forward(self, x):
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        code = mean + torch.randn_like(mean) * torch.exp(log_variance / 2)
        divergence = (mean**2 + log_variance.exp() - 1 - log_variance).sum(1) / 2
        return self.decoder(code), divergence


def model():
    return _Vae()


def training_step(model, batch):
    (x,) = batch
    logits, divergence = model(x)
    made = nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1)
    return (made + divergence).mean()


def train_loader(batch_size=64):
    return DataLoader(TensorDataset(_x[:1400]), batch_size=batch_size, shuffle=True, drop_last=True)


def val_loader():
    return DataLoader(TensorDataset(_x[1400:]), batch_size=397)


def optimizer(params, lr):
    return torch.optim.Adam(params, lr=lr)
