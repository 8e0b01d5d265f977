"""Fine-tuning: a perceptron pretrained on digits 0 to 4, trained on with SGD on digits 5 to 9 with a new head."""

import copy

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

_digits = load_digits()
_x = torch.tensor(_digits.data, dtype=torch.float32) / 16.0
_y = torch.tensor(_digits.target)
_order = torch.randperm(len(_y), generator=torch.Generator().manual_seed(5))
_x, _y = _x[_order], _y[_order]
_old, _new = _y < 5, _y >= 5
_train = TensorDataset(_x[_new][:600], _y[_new][:600] - 5)
_val = TensorDataset(_x[_new][600:], _y[_new][600:] - 5)

loss_fn = nn.CrossEntropyLoss()


def _pretrained():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        body = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU())
        net = nn.Sequential(body, nn.Linear(128, 5))
        adam = torch.optim.Adam(net.parameters(), lr=3e-3)
        for _ in range(300):
            adam.zero_grad()
            nn.functional.cross_entropy(net(_x[_old]), _y[_old]).backward()
            adam.step()
    return body


_body = _pretrained()


def model():
    return nn.Sequential(copy.deepcopy(_body), nn.Linear(128, 5))


def train_loader(batch_size=32):
    return DataLoader(_train, batch_size=batch_size, shuffle=True, drop_last=True)


def val_loader():
    return DataLoader(_val, batch_size=512)


def optimizer(params, lr):
    return torch.optim.SGD(params, lr=lr, momentum=0.9)
