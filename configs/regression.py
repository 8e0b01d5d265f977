"""Regression with raw targets: scikit-learn's diabetes data, whose targets run from 25 to 346 and stay unscaled.

The loss starts near 29,000 rather than near 1: a learning-rate finder must not care. There is no loss_fn: a float
target means mean squared error.

lrfinder sweep configs/regression.py
"""

import torch
from sklearn.datasets import load_diabetes
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

data = load_diabetes()
features = torch.tensor(data.data * 20, dtype=torch.float32)  # scikit-learn scales them to 0.05; 20 makes that about 1
progression = torch.tensor(data.target, dtype=torch.float32)  # of the disease, one year later
order = torch.randperm(len(progression), generator=torch.Generator().manual_seed(0))
train = TensorDataset(features[order[:352]], progression[order[:352]])
validation = TensorDataset(features[order[352:]], progression[order[352:]])


def model():
    return nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 1), nn.Flatten(0))


def train_loader(batch_size=32):
    return DataLoader(train, batch_size=batch_size, shuffle=True, drop_last=True)


def val_loader():
    return DataLoader(validation, batch_size=len(validation))


def optimizer(params, lr):
    return torch.optim.Adam(params, lr=lr)
