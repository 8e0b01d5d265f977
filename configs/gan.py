"""A small GAN on handwritten digits: `lrfinder sweep configs/gan.py` sweeps the discriminator's rate.

Two optimizers, each with a loss of its own. The one whose rate follows `lr` is swept, the other holds its own;
exchange the two, or write `lr` in both and add `--sweep-optimizer generator --scale-others`.
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import softplus
from torch.utils.data import DataLoader, TensorDataset

NOISE = 16


class Gan(nn.Module):
    def __init__(self):
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(NOISE, 128), nn.ReLU(), nn.Linear(128, 64), nn.Sigmoid())
        self.discriminator = nn.Sequential(nn.Linear(64, 128), nn.LeakyReLU(0.2), nn.Linear(128, 1))


def model():
    return Gan()


def optimizers(model, lr):
    return {
        "discriminator": torch.optim.Adam(model.discriminator.parameters(), lr=lr, betas=(0.5, 0.999)),
        "generator": torch.optim.Adam(model.generator.parameters(), lr=1e-3, betas=(0.5, 0.999)),
    }


def training_step(model, batch):
    """Return a loss for each optimizer, in the order of their updates."""
    real = batch[0]
    made = model.generator(torch.randn(len(real), NOISE, device=real.device))
    return {
        "discriminator": softplus(-model.discriminator(real)).mean()
        + softplus(model.discriminator(made.detach())).mean(),
        "generator": softplus(-model.discriminator(made)).mean(),
    }


def train_loader(batch_size=64):
    images = torch.tensor(load_digits().data / 16, dtype=torch.float32)
    return DataLoader(TensorDataset(images), batch_size=batch_size, shuffle=True, drop_last=True)
