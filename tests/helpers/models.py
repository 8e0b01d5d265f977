"""Model files that tests write."""

GOOD_WITH_VAL = """
import time
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

draw = torch.Generator().manual_seed(0)
X = torch.randn(512, 8, generator=draw)
Y = (X @ torch.randn(8, 3, generator=draw)).argmax(1)

def model():
    return nn.Linear(8, 3)

def training_step(net, batch):
    x, y = batch
    return nn.functional.cross_entropy(net(x), y)

def train_loader():
    return DataLoader(TensorDataset(X[:384], Y[:384]), batch_size=16, shuffle=True)

def val_loader():
    return DataLoader(TensorDataset(X[384:], Y[384:]), batch_size=128)

def optimizer(params, lr):
    return torch.optim.SGD(params, lr=lr, momentum=0.9)
"""
