"""A perceptron on scikit-learn's 8x8 handwritten digits: the smallest complete model file.

lrfinder sweep configs/digits.py
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

digits = load_digits()
images = torch.tensor(digits.data, dtype=torch.float32) / 16.0  # pixels run from 0 to 16
labels = torch.tensor(digits.target)

# The same split every time: 1,400 images to train on, 397 to validate.
order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
train = TensorDataset(images[order[:1400]], labels[order[:1400]])
validation = TensorDataset(images[order[1400:]], labels[order[1400:]])

loss_fn = nn.CrossEntropyLoss()


def model():
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))


def train_loader(batch_size=64):
    return DataLoader(train, batch_size=batch_size, shuffle=True, drop_last=True)


def val_loader():
    return DataLoader(validation, batch_size=len(validation))


def optimizer(params, lr):
    return torch.optim.AdamW(params, lr=lr)
