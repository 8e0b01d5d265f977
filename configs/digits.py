"""A perceptron on 8x8 handwritten digits: the smallest complete model file.

lrfinder sweep configs/digits.py

The data are those of scikit-learn's `load_digits()`, in a file beside this one: a line is 64 pixels and the label.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

digits = torch.from_numpy(np.loadtxt(Path(__file__).with_name("digits.csv.gz"), delimiter=","))
images = digits[:, :-1].to(torch.float32) / 16.0  # pixels run from 0 to 16
labels = digits[:, -1].long()

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
