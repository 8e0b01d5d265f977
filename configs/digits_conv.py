"""A convolutional net with batch norm on 8x8 digits, trained by SGD with momentum.

Two param groups: weight decay for the convolutions and the linear layer, none for biases and batch norm. Their rates
are the same here; they could differ, and the sweep would keep their ratio.

lrfinder sweep configs/digits_conv.py
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16.0  # (count, channel, row, column)
labels = torch.tensor(digits.target)
order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))
train = TensorDataset(images[order[:1400]], labels[order[:1400]])
validation = TensorDataset(images[order[1400:]], labels[order[1400:]])

loss_fn = nn.CrossEntropyLoss(label_smoothing=0.05)


def block(channels_in, channels_out, stride):
    convolution = nn.Conv2d(channels_in, channels_out, kernel_size=3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels_out), nn.ReLU())


def model():
    return nn.Sequential(
        block(1, 16, stride=1),
        block(16, 32, stride=2),
        block(32, 32, stride=1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )


def train_loader(batch_size=64):
    return DataLoader(train, batch_size=batch_size, shuffle=True, drop_last=True)


def val_loader():
    return DataLoader(validation, batch_size=len(validation))


def optimizer(params, lr):
    matrices = [p for p in params if p.ndim > 1]
    vectors = [p for p in params if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": 5e-4}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr=lr, momentum=0.9, nesterov=True)
