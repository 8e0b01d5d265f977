"""Model files that can't be swept, with the exit status and what the message must say."""

from __future__ import annotations

from typing import NamedTuple


class Bad(NamedTuple):
    """A model file that is wrong: what is added to a good one or stands in its place, the status, and the message."""

    title: str
    text: str
    status: int
    tells: str


GOOD = """import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

X = torch.randn(64, 8)
Y = (X @ torch.randn(8, 3)).argmax(1)

def model():
    return nn.Linear(8, 3)

def train_loader():
    return DataLoader(TensorDataset(X, Y), batch_size=16)

loss_fn = nn.CrossEntropyLoss()
"""

DATA = "class Data(Dataset):\n    def __len__(self): return 9\n    def __getitem__(self, i):"

# Instead of the whole file.
WHOLE = {
    "empty": ("", 3, r"model\.py has no model"),
    "only a comment": ("# nothing\n", 3, r"model\.py has no model"),
    "no model": ("train_loader = []\n", 3, r"model\.py has no model"),
    "no train_loader": ("from torch import nn\nmodel = nn.Linear(1, 1)\n", 3, r"model\.py has no train_loader"),
    "a misspelled name": ("from torch import nn\nModel = nn.Linear(1, 1)\n", 3, r"model\.py has no model"),
    "syntax": ("def model(:\n", 3, r"model\.py.*\n?.*line 1"),
    "indentation": ("def model():\nreturn 1\n", 3, r"line 2"),
    "a tab": ("if True:\n\tx = 1\n        y = 2\n", 3, r"line 3"),
    "not UTF-8": ("# \xe9\n", 3, r"model\.py"),
    "a zero byte": ("x = 1\0\n", 3, r"model\.py"),
    "a missing package": ("import no_such_package_of_mine\n", 3, r"line 1(.|\n)*no_such_package_of_mine"),
    "a missing name": ("from torch import no_such_name\n", 3, r"line 1(.|\n)*no_such_name"),
    "an undefined name": ("model = netz\n", 3, r"line 1(.|\n)*netz"),
    "an exit": ("import sys\nsys.exit(0)\n", 3, r"model\.py"),
    "an assertion": ("assert False, 'mine'\n", 3, r"line 1(.|\n)*mine"),
    "recursion": ("def f():\n    f()\nf()\n", 3, r"RecursionError"),
    "an exception without words": ("raise ValueError\n", 3, r"line 1(.|\n)*ValueError"),
    "an exception of its own": ("class Mine(Exception): pass\nraise Mine('words')\n", 3, r"line 2(.|\n)*Mine: words"),
    "an exception that can't be told": (
        "class Mine(Exception):\n    def __str__(self): raise ValueError\nraise Mine\n", 3, r"line 3"
    ),
    "a group of exceptions": ("raise ExceptionGroup('several', [ValueError('one')])\n", 3, r"several"),
    "a warning as an error": ("import warnings\nwarnings.simplefilter('error')\nwarnings.warn('mine')\n", 3, r"mine"),
    "a file that is missing": ("open('data.csv')\n", 3, r"line 1(.|\n)*data\.csv"),
    "out of memory": ("raise MemoryError('so large')\n", 4, r"memory"),
}  # fmt: skip

# After the good file.
ADDED = {
    "model is a class of nothing": ("class model: pass\n", 3, r"model"),
    "model is a number": ("model = 3\n", 3, r"model\.py: model"),
    "model is None": ("model = None\n", 3, r"model"),
    "model returns None": ("def model(): pass\n", 3, r"model"),
    "model needs arguments": ("def model(width): pass\n", 3, r"model.*width"),
    "model raises": ("def model(): raise KeyError('mine')\n", 3, r"mine"),
    "model returns the same object": ("net = nn.Linear(8, 3)\ndef model(): return net\n", 3, r"same object|model"),
    "a model without parameters": ("def model(): return nn.ReLU()\n", 3, r"parameter"),
    "everything is frozen": ("def model(): return nn.Linear(8, 3).requires_grad_(False)\n", 3, r"requires_grad|train"),
    "parameters() that gives groups": (
        ("class Net(nn.Linear):\n    def parameters(self, recurse=True): return [{'params': [self.weight]}]\n"
        "def model(): return Net(8, 3)\n"), 3, r"parameters\(\) of Net gives a dict(.|\n)*param groups in optimizer",
    ),
    "a lazy live model": ("model = nn.LazyLinear(3)\n", 3, r"lazy"),
    "a model of the wrong width": ("def model(): return nn.Linear(9, 3)\n", 3, r"mat1 and mat2|shape"),
    "a model with a hole": ("class Net(nn.Module): pass\ndef model(): return Net()\n", 3, r"Net|parameter|forward"),
    "forward raises": (
        ("class Net(nn.Linear):\n    def forward(self, x): raise ZeroDivisionError('mine')\n"
        "def model(): return Net(8, 3)\n"), 3, r"line 16(.|\n)*mine",
    ),
    "forward returns None": (
        "class Net(nn.Linear):\n    def forward(self, x): pass\ndef model(): return Net(8, 3)\n", 3, r"NoneType|None"
    ),
    "loader is None": ("train_loader = None\n", 3, r"train_loader"),
    "loader is a number": ("train_loader = 3\n", 3, r"train_loader"),
    "loader is empty": ("train_loader = []\n", 3, r"train_loader gave no batch"),
    "loader returns None": ("def train_loader(): pass\n", 3, r"train_loader"),
    "loader needs arguments": ("def train_loader(folder): pass\n", 3, r"train_loader.*folder"),
    "loader raises": ("def train_loader(): raise OSError(5, 'mine')\n", 3, r"mine"),
    "data set raises": (
        (f"{DATA} raise IndexError('mine')\n"
        "def train_loader(): return DataLoader(Data())\n"), 3, r"mine",
    ),
    "data set raises in a worker": (
        (f"{DATA} raise ValueError('mine')\n"
        "def train_loader(): return DataLoader(Data(), num_workers=1)\n"), 3, r"mine",
    ),
    "a worker that dies": (
        (f"import os\n{DATA} os._exit(1)\n"
        "def train_loader(): return DataLoader(Data(), num_workers=1)\n"), 4, r"worker",
    ),
    "batches of different sizes": (
        (f"{DATA} return torch.ones(i + 1)\n"
        "def train_loader(): return DataLoader(Data(), batch_size=3)\n"), 3, r"stack|size",
    ),
    "an iterator that has ended": ("train_loader = iter([])\n", 3, r"train_loader"),
    "batches without a target": ("def train_loader(): return [X]\n", 3, r"target|batch|training_step"),
    "batches of text": ("def train_loader(): return [(['a'], ['b'])]\n", 3, r"list|text|str|TypeError"),
    "targets of another length": ("def train_loader(): return [(X, Y[:3])]\n", 3, r"batch|size"),
    "targets out of range": ("def train_loader(): return [(X, Y + 7)]\n", 3, r"out of bounds|Target"),
    "loss_fn is a number": ("loss_fn = 3\n", 3, r"loss_fn"),
    "loss_fn raises": ("def loss_fn(output, target): raise ValueError('mine')\n", 3, r"line 15(.|\n)*mine"),
    "loss_fn returns None": ("def loss_fn(output, target): pass\n", 3, r"loss"),
    "loss_fn returns a number": ("def loss_fn(output, target): return 1.0\n", 3, r"loss"),
    "loss_fn isn't a scalar": ("def loss_fn(output, target): return output\n", 3, r"scalar|shape|loss"),
    "loss_fn is detached": ("def loss_fn(output, target): return output.mean().detach()\n", 3, r"grad"),
    "loss_fn takes one argument": ("def loss_fn(output): return output.mean()\n", 3, r"loss_fn|argument"),
    "loss_fn is complex": ("def loss_fn(o, t): return o.mean() * 1j\n", 3, r"complex|loss"),
    "training_step takes none": ("def training_step(): return 1\n", 3, r"training_step|argument"),
    "training_step is a text": ("training_step = 'x'\n", 3, r"training_step"),
    "an optimizer that is none": ("optimizer = 3\n", 3, r"optimizer"),
    "an optimizer that returns none": ("def optimizer(params, lr): pass\n", 3, r"optimizer"),
    "an optimizer without lr": ("def optimizer(params): return torch.optim.SGD(params)\n", 3, r"optimizer"),
    "an optimizer that raises": ("def optimizer(params, lr): raise ValueError('mine')\n", 3, r"mine"),
    "an optimizer of bad options": (
        "def optimizer(params, lr): return torch.optim.SGD(params, lr, momentum=-1)\n", 3, r"momentum"
    ),
    "an optimizer of nothing": ("def optimizer(params, lr): return torch.optim.SGD([], lr)\n", 3, r"empty|parameter"),
    "an optimizer of another model": (
        "other = nn.Linear(1, 1)\ndef optimizer(params, lr): return torch.optim.SGD(other.parameters(), lr)\n", 3,
        r"optimizer|parameter",
    ),
    "sparse gradients for Adam": (
        ("class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.table = nn.Embedding(9, 3, sparse=True)\n"
        "    def forward(self, x): return self.table(x.long().abs() % 9).mean(1)\ndef model(): return Net()\n"), 3,
        r"sparse",
    ),
    "a loss whose exception can't be told": (
        "class Mine(Exception):\n    def __str__(self): raise ValueError\ndef loss_fn(o, t): raise Mine\n",
        3,
        r"line 17",
    ),
    "memory in the loss": ("def loss_fn(o, t): return torch.empty(2**60).sum()\n", 4, r"memory"),
    "NaN from the start": ("def loss_fn(o, t): return o.mean() * float('nan')\n", 5, r"not finite|nan"),
    "infinite from the start": ("def loss_fn(o, t): return o.mean() + float('inf')\n", 5, r"not finite|inf"),
    "val_loader is a number": ("val_loader = 3\n", 3, r"val_loader"),
}  # fmt: skip


def models() -> list[Bad]:
    """Return all of them."""
    whole = [Bad(title, text, status, tells) for title, (text, status, tells) in WHOLE.items()]
    return whole + [Bad(title, GOOD + text, status, tells) for title, (text, status, tells) in ADDED.items()]
