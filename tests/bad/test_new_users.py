"""Mistakes that new users make: each message says what is wrong, where, and what to do."""

from __future__ import annotations

import re
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from lrfinder.cli import main

GOOD = """import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

X = torch.randn(256, 8)
Y = (X @ torch.randn(8, 3)).argmax(1)

def model():
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))

def train_loader():
    return DataLoader(TensorDataset(X, Y), batch_size=16, shuffle=True)

loss_fn = nn.CrossEntropyLoss()
"""
SCRIPT = "import argparse\np = argparse.ArgumentParser()\np.add_argument('--data', required=True)\np.parse_args()\n"
STEP = "def training_step(model, batch):\n    loss = loss_fn(model(batch[0]), batch[1])\n"
CONFIG = "version: 1\noptimizer: {name: AdamW, lr: 0.01}\nschedule: {name: linear, steps: 100}\n"
SWEEP = "sweep model.py --quiet --steps 6 --repeats 1 --run-steps 10 --max-lr 1"


class Mistake(NamedTuple):
    """What is changed in a good model file or config, and what the message says: what, where, and what to do."""

    before: str
    after: str
    what: str
    where: str
    to_do: str
    command: str = SWEEP
    status: int = 3


MISTAKES = {
    "the file's name without .py": Mistake(
        "", "", "no such file", "'model'", r"did you mean model\.py", "sweep model", 2
    ),
    "a data set in place of a loader": Mistake(
        "DataLoader(TensorDataset(X, Y), batch_size=16, shuffle=True)", "TensorDataset(X, Y)",
        "gives single samples, not batches", r"model\.py: train_loader\(\)", r"wrap it: DataLoader\(",
    ),
    "no return in model()": Mistake(
        "    return nn.Seq", "    net = nn.Seq", "returned a NoneType", r"model\.py: model\(\)", "return a torch",
    ),
    "the name of a class in place of model": Mistake(
        "def model():\n    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))",
        "class Net(nn.Linear):\n    pass",
        "has no model", r"model\.py", r"write `def model\(\)",
    ),
    "a training script": Mistake(
        "import torch\n", f"import torch\n{SCRIPT}", "the code ended the program", r"importing model\.py",
        "keep .* under",
    ),
    "a path that begins elsewhere": Mistake(
        "import torch\n", "import torch\nopen('data/train.csv')\n",
        "No such file or directory", r'model\.py", line 2', "relative paths begin where the command runs",
    ),
    "a card that isn't there": Mistake(
        "loss_fn = ", "X = X.to('cuda')\nloss_fn = ", "CUDA|NVIDIA", r'model\.py", line 14',
        "leave model and data on the CPU",
    ),
    "labels that are floats": Mistake(
        "argmax(1)", "argmax(1).float()", "target dtype|scalar type Long", r"calling loss_fn\(output, target\)",
        r"make them target\.long",
    ),
    "labels that begin at 1": Mistake(
        "argmax(1)", "argmax(1) + 1", "out of bounds", r"calling loss_fn\(output, target\)", "let labels begin at 0",
    ),
    "a layer of another width": Mistake(
        "nn.Linear(8, 16)", "nn.Linear(10, 16)", "cannot be multiplied", "running the model on a batch",
        "takes 10 features and gets 8",
    ),
    "inputs in double precision": Mistake(
        "randn(256, 8)\n", "randn(256, 8).double()\n", "dtype|scalar type", "importing",
        r"\.float\(\)",
    ),
    "two outputs": Mistake(
        "def model():\n    return nn.Sequential(",
        "class Two(nn.Sequential):\n    def forward(self, x):\n        return super().forward(x), x\n\n"
        "def model():\n    return Two(",
        "must be Tensor, not tuple", r"calling loss_fn\(output, target\)", "picks one for the loss",
    ),
    "two outputs, whose size is asked": Mistake(
        "loss_fn = nn.CrossEntropyLoss()",
        "def loss_fn(o, t):\n    return nn.MSELoss()((o, o), t)",
        "has no attribute 'size'", r"calling loss_fn\(output, target\)", "gets a tuple, not a tensor",
    ),
    "batches of NumPy arrays": Mistake(
        "    return DataLoader(TensorDataset(X, Y), batch_size=16, shuffle=True)",
        "    return [(X[:16].numpy(), Y[:16])] * 16",
        "must be Tensor, not numpy.ndarray", "running the model on a batch", "let the loader make one",
    ),
    "batches of lists": Mistake(
        "    return DataLoader(TensorDataset(X, Y), batch_size=16, shuffle=True)",
        "    return [(X[:16].tolist(), Y[:16])] * 16",
        "must be Tensor, not list", "running the model on a batch", "where the batch has a list",
    ),
    "the state of an LSTM": Mistake(
        "nn.ReLU()", "nn.LSTM(16, 16)", "must be Tensor, not tuple", "running the model on a batch",
        "several things from the one before it",
    ),
    "a relative import": Mistake(
        "import torch\n", "import torch\nfrom .data import X\n", "attempted relative import", r'model\.py", line 2',
        r"write `import helper` for helper\.py beside it",
    ),
    "a loss that went through item()": Mistake(
        "nn.CrossEntropyLoss()", "lambda o, t: nn.functional.cross_entropy(o, t).item()",
        "is a float .*not a tensor", r"model\.py: the loss", r"did it go through \.item\(\)",
    ),
    "a loss for every sample": Mistake(
        "CrossEntropyLoss()", "CrossEntropyLoss(reduction='none')",
        r"has the shape \(16,\)", r"model\.py: the loss", "return its mean",
    ),
    "arguments of the loss in another order": Mistake(
        "loss_fn = nn.CrossEntropyLoss()",
        "def loss_fn(target, output):\n    return nn.functional.cross_entropy(output, target)",
        "not implemented for 'Long'", "in loss_fn", r"called as loss_fn\(output, target\)",
    ),
    "backward in training_step": Mistake(
        "loss_fn = nn", f"{STEP}    loss.backward()\n    return loss\n\nloss_fn = nn",
        "a second time", r"loss\.backward\(\) before update 0", "let training_step return the loss",
    ),
    "a training_step without return": Mistake(
        "loss_fn = nn", f"{STEP}\nloss_fn = nn", "the loss is None", "batch 1", "did you forget to return it",
    ),
    "an optimizer without lr": Mistake(
        "loss_fn = nn", "def optimizer(params):\n    return torch.optim.SGD(params, lr=0.1)\n\nloss_fn = nn",
        r"can't be called with \(params, lr\)", r"model\.py: optimizer", r"write `def optimizer\(params, lr\)",
    ),
    "the optimizer of another model": Mistake(
        "loss_fn = nn", "optimizer = torch.optim.SGD(model().parameters(), lr=0.1)\nloss_fn = nn",
        "would train another one", r"model\.py: optimizer", r"write `def optimizer\(params, lr\)",
    ),
    "everything frozen": Mistake(
        "nn.Linear(16, 3))", "nn.Linear(16, 3)).requires_grad_(False)",
        "all its parameters are frozen", r"model\.py: Sequential", "requires_grad=True",
    ),
    "a softmax before cross-entropy": Mistake(
        "nn.Linear(16, 3))", "nn.Linear(16, 3), nn.Softmax(1))",
        "gets probabilities", "row of the model's output", "remove the one at the end", f"{SWEEP} --json", -1,
    ),
    "no length of the run": Mistake(
        "", "", "the length of the coming run is needed", "", "add --steps T or --epochs E", "find model.py", 2
    ),
    "model and config in another order": Mistake(
        "", "", "is a Python file, not a schedule config", r"model\.py", "the model file comes first",
        "check schedule.yaml --config model.py", 2,
    ),
    "a tab in a config": Mistake(
        "optimizer: {", "optimizer:\n\t{", "not valid YAML", r"schedule\.yaml:3:1", "indents by spaces",
        "schedule show schedule.yaml", 2,
    ),
    "quotes around a rate": Mistake(
        "lr: 0.01", "lr: '0.01'", "expected a number", r"schedule\.yaml:2:30: optimizer\.lr", "without quotes",
        "schedule show schedule.yaml", 2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("title", MISTAKES)
def test_the_message_says_what_where_and_what_to_do(
    title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if "card" in title and torch.cuda.is_available():
        pytest.skip("there is a card")
    mistake, texts = MISTAKES[title], {"model.py": GOOD, "schedule.yaml": CONFIG}
    found = [name for name, text in texts.items() if mistake.before and mistake.before in text]
    assert len(found) == (mistake.before != ""), "the mistake is made in one place"
    for name, text in texts.items():
        (tmp_path / name).write_text(text.replace(mistake.before, mistake.after) if name in found else text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "argv", ["lrfinder", *mistake.command.split()])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(SystemExit) as ended:
            main()
    told = capfd.readouterr()
    assert mistake.status in {ended.value.code, -1}, told.err
    for part in (mistake.what, mistake.where, mistake.to_do):
        assert re.search(part, told.err), (part, told.err)
    assert "a fault of lrfinder's own" not in told.err
    assert "Traceback" not in told.err
