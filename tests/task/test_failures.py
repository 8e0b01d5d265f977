"""Model files that can't be used: each is told by type, by name, by what was found and by what to write."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from lrfinder.errors import LrfinderError, ModelFileError, UsageError, user_code_location
from lrfinder.task.build import build_trial
from lrfinder.task.load import load_problem
from lrfinder.task.problem import BuiltProblem

MODEL = "def model():\n    return nn.Linear(3, 2)\n"
LOADER = "train_loader = [(torch.ones(4, 3), torch.tensor([0, 1, 0, 1]))]\n"
SGD = "def optimizer(params, lr):\n    return torch.optim.SGD(params, lr=lr)\n"
GOOD = MODEL + LOADER

# file, phrases of the message, a phrase of the hint
WHEN_LOADED = {
    "empty": ("", ["model.py has no model"], "def model()"),
    "net": ("net = nn.Linear(3, 2)\n" + LOADER, ["has no model", "did you mean to call `net` model?"], "def model"),
    "Model": ("class Model(nn.Module):\n    pass\n" + LOADER, ["has no model", "`Model` model?"], ""),
    "build_model": ("def build_model():\n    pass\n" + LOADER, ["`build_model` model?"], ""),
    "model None": ("model = None\n" + LOADER, ["model is None"], "def model()"),
    "model text": ("model = 'resnet18'\n" + LOADER, ["model is a str ('resnet18')"], "torch.nn.Module"),
    "model number": ("model = 3\n" + LOADER, ["model is an int (3)"], "torch.nn.Module"),
    "model state": ("model = nn.Linear(3, 2).state_dict()\n" + LOADER, ["model is an OrderedDict"], "nn.Module"),
    "model loader": ("model = DataLoader([1])\n" + LOADER, ["model is a DataLoader"], "nn.Module"),
    "model module": ("import json as model\n" + LOADER, ["model is a module"], "nn.Module"),
    "model other class": ("class model:\n    pass\n" + LOADER, ["model is the class model"], "nn.Module"),
    "no loader": (MODEL.replace("def model():\n    return", "model ="), ["has no train_loader"], "DataLoader("),
    "no loader, class": ("class model(nn.Linear):\n    pass\n", ["has no train_loader"], "DataLoader("),
    "train_dataloader": (MODEL + "train_dataloader = []\n", ["`train_dataloader` train_loader?"], ""),
    "trainloader": (MODEL + "trainloader = []\n", ["`trainloader` train_loader?"], ""),
    "train_laoder": (MODEL + "def train_laoder():\n    pass\n", ["`train_laoder` train_loader?"], ""),
    "loader data set": (
        MODEL + "train_loader = TensorDataset(torch.ones(3))\n",
        ["train_loader is a TensorDataset", "single samples"],
        "DataLoader(dataset",
    ),
    "loader model": (MODEL + "train_loader = nn.Linear(1, 1)\n", ["train_loader is a Linear", "not batches"], ""),
    "loader text": (MODEL + "train_loader = 'data/train'\n", ["train_loader is a str ('data/train')"], "DataLoader"),
    "loader number": (MODEL + "train_loader = 64\n", ["train_loader is an int (64)"], "generator function"),
    "loader tensor": (MODEL + "train_loader = torch.ones(4, 3)\n", ["train_loader is a Tensor"], ""),
    "loader dict": (MODEL + "train_loader = {'a': 1}\n", ["train_loader is a dict"], ""),
    "loaders": (MODEL + "train_loader = [DataLoader([1]), DataLoader([2])]\n", ["a list of loaders"], "ConcatDataset"),
    "val_loader": (GOOD + "val_loader = 3\n", ["val_loader is an int (3)"], "let val_loader be"),
    "a val_loader that ends": (
        GOOD + "val_loader = iter([1, 2])\n",
        ["val_loader is a list_iterator, an iterator: it ends once and for all, and is read more than once"],
        "give a function that returns a new one",
    ),
    "criterion": (GOOD + "criterion = nn.MSELoss()\n", ["no loss_fn", "`criterion` loss_fn?"], "`loss_fn = None`"),
    "lossfn": (GOOD + "lossfn = nn.MSELoss()\n", ["`lossfn` loss_fn?"], "rename it"),
    "train_step": (GOOD + "def train_step(m, b):\n    pass\n", ["`train_step` training_step?"], "rename it"),
    "loss text": (GOOD + "loss_fn = 'mse'\n", ["loss_fn is a str ('mse')"], "torch.nn.CrossEntropyLoss()"),
    "step number": (GOOD + "training_step = 1\n", ["training_step is an int (1)"], "def training_step(model, batch)"),
    "step arguments": (GOOD + "def training_step(batch):\n    pass\n", ["can't be called with (model, batch)"], ""),
    "optimiser": (GOOD + SGD.replace("optimizer", "optimiser"), ["`optimiser` optimizer?"], "`optimizer = None`"),
    "optimizer text": (GOOD + "optimizer = 'adam'\n", ["optimizer is a str ('adam')"], "def optimizer(params, lr)"),
    "optimizer arguments": (GOOD + "def optimizer(params):\n    pass\n", ["can't be called with (params, lr)"], "SGD"),
    "optimizer over a callable model": (
        GOOD + "optimizer = torch.optim.SGD(model().parameters(), lr=1)\n",
        ["optimizer is a live SGD", "the function model", "train another one"],
        "def optimizer(params, lr)",
    ),
    "optimizer module": (GOOD + "optimizer = nn.Linear(1, 1)\n", ["optimizer is a Linear"], "def optimizer"),
    "optimizer and optimizers": (GOOD + SGD + "optimizers = lambda model, lr: {}\n", ["both"], "keep one"),
    "optimizers is a list": (GOOD + "optimizers = [1]\n", ["optimizers is a list with an int (1) in it"], "generator"),
    "optimizers takes three": (GOOD + "optimizers = lambda a, b, c: {}\n", ["can't be called with (model, lr)"], ""),
    "live optimizers over a model made anew": (
        GOOD + "optimizers = {'a': torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1)}\n",
        ["optimizers is a live SGD", "makes a new model"],
        "generator",
    ),
}

WHEN_BUILT = {
    "model returns None": ("def model():\n    pass\n" + LOADER, ["model() returned a NoneType"], "nn.Module"),
    "model returns a class": ("def model():\n    return nn.Linear\n" + LOADER, ["returned the class Linear"], ""),
    "model wants arguments": ("def model(width):\n    pass\n" + LOADER, ["model needs arguments (width)"], "defaults"),
    "no parameters": ("model = nn.ReLU\n" + LOADER, ["ReLU can't be trained", "no parameters"], "requires_grad"),
    "frozen": (
        "model = nn.Linear(3, 2).requires_grad_(False)\n" + LOADER,
        ["can't be trained", "all its parameters are frozen"],
        "requires_grad",
    ),
    "lazy": (
        "def model():\n    return nn.Sequential(nn.LazyLinear(2))\ntrain_loader = iter([(torch.ones(4, 3),)])\n",
        ["Sequential has lazy layers"],
        "one batch",
    ),
    "model exits": ("def model():\n    exit(3)\n" + LOADER, ["exit status 3", "while calling model()"], "__main__"),
    "no loader behind a function": (MODEL, ["has no train_loader"], "def train_loader"),
    "loader returns None": (MODEL + "def train_loader():\n    pass\n", ["train_loader() is a NoneType"], "let"),
    "loader returns data": (
        MODEL + "def train_loader():\n    return TensorDataset(torch.ones(3))\n",
        ["train_loader() is a TensorDataset", "single samples"],
        "DataLoader(",
    ),
    "loader wants arguments": (
        MODEL + "def train_loader(folder, batch_size=3):\n    pass\n",
        ["train_loader needs arguments (folder)"],
        "defaults",
    ),
    "optimizer returns None": (
        GOOD + "def optimizer(params, lr):\n    torch.optim.SGD(params, lr=lr)\n",
        ["optimizer(params, lr) returned a NoneType"],
        "return torch.optim",
    ),
    "optimizer ignores lr": (
        GOOD + SGD.replace("lr=lr", "lr=0.1"),
        ["param group 0 the rate 0.1 for lr = 0.001 and 0.1 for lr = 0.002", "doesn't follow lr"],
        "multiples of it",
    ),
    "one group ignores lr": (
        GOOD + "def optimizer(params, lr):\n    first, second = params\n    return torch.optim.SGD("
        "[{'params': first}, {'params': second, 'lr': 1e-5}], lr=lr)\n",
        ["param group 1 the rate 1e-05"],
        "0.1 * lr",
    ),
    "rates of zero": (GOOD + SGD.replace("lr=lr", "lr=0 * lr"), ["every param group", "rate 0"], ""),
    "live rates of zero": (
        "model = nn.Linear(3, 2)\n" + LOADER + "optimizer = torch.optim.SGD(model.parameters(), lr=0.0)\n",
        ["the optimizer's rates are [0.0]"],
        "above 0",
    ),
    "optimizer over another model": (
        "model = nn.Linear(3, 2)\n" + LOADER + "optimizer = torch.optim.SGD(nn.Linear(3, 2).parameters(), lr=1)\n",
        ["none of the model's trainable parameters"],
        "passed in",
    ),
    "optimizer function over another model": (
        GOOD + SGD.replace("SGD(params", "SGD(nn.Linear(1, 1).parameters()"),
        ["none of the model's trainable parameters"],
        "passed in",
    ),
    "a list with something else": (
        GOOD + "def optimizer(params, lr):\n    return [torch.optim.SGD(params, lr=lr), None]\n",
        ["optimizer(params, lr) returned a list with a NoneType in it"],
        "SGD",
    ),
    "no optimizers": (GOOD + "def optimizer(params, lr):\n    return []\n", ["returned a list"], "SGD"),
    "one of two ignores lr": (
        GOOD + "def optimizer(params, lr):\n    first, second = params\n    return [torch.optim.SGD([first], lr=lr), "
        "torch.optim.Adam([second], lr=0.5)]\n",
        ["param group 0 of optimizer 1 the rate 0.5"],
        "0.1 * lr",
    ),
    "one of two over another model": (
        GOOD + "def optimizer(params, lr):\n    return [torch.optim.SGD(p, lr=lr) for p in "
        "(params, nn.Linear(1, 1).parameters())]\n",
        ["optimizer 'optimizer 1' holds none"],
        "passed in",
    ),
    "optimizers returns one": (
        GOOD + SGD.replace("optimizer(", "optimizers("),
        ["optimizers is a SGD, not a mapping"],
        "generator",
    ),
    "the only optimizer ignores lr": (
        GOOD + "def optimizers(model, lr):\n    return {'a': torch.optim.SGD(model.parameters(), lr=0.5)}\n",
        ["optimizer 'a' doesn't follow lr"],
        "def optimizers(model)",
    ),
    "a held one partly follows lr": (
        GOOD
        + "def optimizers(model, lr):\n    groups = [{'params': [model.bias]}, {'params': [model.weight], 'lr': 1}]"
        "\n    return {'a': torch.optim.SGD(model.parameters(), lr=lr), 'b': torch.optim.SGD(groups, lr=lr)}\n",
        ["some groups of 'b' follows lr"],
        "--scale-others",
    ),
    "loss maker returns None": (GOOD + "def loss_fn():\n    pass\n", ["loss_fn() returned a NoneType"], "target"),
}


def loss_of(returned: str, batch: str = "(torch.ones(4, 3), torch.zeros(4, 2))") -> str:
    return f"{MODEL}train_loader = [{batch}]\ndef loss_fn(output, target):\n    return {returned}\n"


def inferred_of(output: str, target: str) -> str:
    """A model whose output has a given shape, without a loss."""
    return (
        "class model(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.weight = nn.Parameter(torch.ones(()))\n"
        f"    def forward(self, x):\n        return {output}\ntrain_loader = [(torch.ones(4, 3), {target})]\n"
    )


WHEN_RUN = {
    "item": (loss_of("output.mean().item()"), ["the loss is a float", ".item()"], "training_step"),
    "per sample": (loss_of("(output - target).pow(2).mean(1)"), ["the shape (4,), not a single number"], ".mean()"),
    "integer": (loss_of("output.sum().long()"), ["a tensor of torch.int64"], ""),
    "detached": (loss_of("output.mean().detach()"), ["doesn't depend on the model's parameters"], ".detach()"),
    "dict batch": (
        loss_of("output.mean()", "{'image': torch.ones(4, 3), 'label': torch.ones(4)}"),
        ["loss_fn takes batches (inputs..., target)", "a dict with the keys image, label"],
        "training_step",
    ),
    "bare batch": (loss_of("output.mean()", "torch.ones(4, 3)"), ["the batch is a Tensor"], "training_step"),
    "single batch": (loss_of("output.mean()", "(torch.ones(4, 3),)"), ["the batch is a tuple of 1"], "training_step"),
    "step returns a float": (
        GOOD + "def training_step(model, batch):\n    return 1.0\n",
        ["the loss is a float (1.0)"],
        "training_step",
    ),
    "regression shapes": (
        inferred_of("self.weight * torch.ones(4, 3)", "torch.ones(3, 4)"),
        ["mean squared error was inferred", "the shape (4, 3) and the target (3, 4)"],
        "loss_fn",
    ),
    "class shapes": (
        inferred_of("self.weight * torch.ones(4, 3)", "torch.ones(4, 2, dtype=torch.long)"),
        ["cross-entropy was inferred", "the shape (4, 3) and the target (4, 2)"],
        "loss_fn",
    ),
    "which axis": (
        inferred_of("self.weight * torch.ones(4, 5, 5)", "torch.ones(4, 5, dtype=torch.long)"),
        ["which axis of the output (4, 5, 5)"],
        "loss_fn",
    ),
    "one logit": (
        inferred_of("self.weight * torch.ones(4, 1)", "torch.tensor([0, 1, 0, 1])"),
        ["single output", "always 0"],
        "BCEWithLogitsLoss",
    ),
    "labels beyond": (
        inferred_of("self.weight * torch.ones(4, 3)", "torch.tensor([0, 1, 2, 3])"),
        ["labels run from 0 to 3", "3 outputs, for labels from 0 to 2"],
        "count the classes",
    ),
    "labels below": (
        inferred_of("self.weight * torch.ones(4, 3)", "torch.tensor([0, 1, 2, -1])"),
        ["labels run from -1 to 2"],
        "count the classes",
    ),
    "boolean target": (
        inferred_of("self.weight * torch.ones(4, 3)", "torch.ones(4, dtype=torch.bool)"),
        ["no loss can be inferred for a target of bool"],
        "loss_fn",
    ),
    "target list": (
        inferred_of("self.weight * torch.ones(4, 3)", "['a', 'b']"),
        ["the target is a list, not a tensor"],
        "loss_fn",
    ),
    "output tuple": (
        inferred_of("(self.weight * torch.ones(4, 3), 0)", "torch.ones(4)"),
        ["the model's output is a tuple"],
        "loss_fn",
    ),
    "integer output": (
        inferred_of("(self.weight * torch.ones(4, 3)).long()", "torch.ones(4)"),
        ["no loss can be inferred from an output of torch.int64"],
        "loss_fn",
    ),
    "dict batch, no loss": (
        inferred_of("self.weight * x", "0").replace("(torch.ones(4, 3), 0)", "{'x': torch.ones(3)}"),
        ["took the whole batch and returned a Tensor without a loss"],
        "labels",
    ),
    "loss None": (
        inferred_of("{'loss': None, 'logits': self.weight * x}", "0").replace(", 0)", ",)"),
        ["took the whole batch and returned a dict without a loss"],
        "labels",
    ),
}


def refused(error: LrfinderError, phrases: list[str], hint: str) -> None:
    assert type(error) is ModelFileError
    assert error.exit_status == 3
    assert str(error).startswith("model.py") or "exit status" in str(error)
    for phrase in phrases:
        assert phrase in str(error)
    assert error.hint
    assert hint in error.hint


@pytest.mark.parametrize("case", WHEN_LOADED)
def test_refused_when_loaded(write: Callable[..., str], case: str) -> None:
    text, phrases, hint = WHEN_LOADED[case]
    with pytest.raises(LrfinderError) as caught:
        load_problem(write(text))
    refused(caught.value, phrases, hint)


@pytest.mark.parametrize("case", WHEN_BUILT)
def test_refused_when_built(write: Callable[..., str], case: str) -> None:
    text, phrases, hint = WHEN_BUILT[case]
    problem = load_problem(write(text))
    with pytest.raises(LrfinderError) as caught:
        build_trial(problem, place=lambda model: model)
    refused(caught.value, phrases, hint)


@pytest.mark.parametrize("case", WHEN_RUN)
def test_refused_when_run(
    build: Callable[..., BuiltProblem], first_loss: Callable[[BuiltProblem], torch.Tensor], case: str
) -> None:
    text, phrases, hint = WHEN_RUN[case]
    trial = build(text)
    with pytest.raises(LrfinderError) as caught:
        first_loss(trial)
    refused(caught.value, phrases, hint)


@pytest.mark.parametrize(
    ("name", "text", "phrase"),
    [
        ("absent", GOOD, "has no 'absent'"),
        ("spec", GOOD + "def spec(width):\n    pass", "spec needs arguments (width)"),
        ("spec", GOOD + "def spec():\n    pass", "spec gives a NoneType"),
        ("spec", GOOD + "spec = nn.Linear(1, 1)", "spec gives a Linear"),
        ("spec", GOOD + "spec = (1, 2)", "spec gives a tuple"),
        ("spec", GOOD + "spec = dict(model=model)", "calling train_loader"),
        ("spec", GOOD + "spec = dict(net=model, train_loader=[])", "did you mean to call `net` model?"),
        ("spec", GOOD + "def spec():\n    return 1 / 0", "division by zero"),
    ],
)
def test_refused_behind_a_name(write: Callable[..., str], name: str, text: str, phrase: str) -> None:
    reference = write(text) + f":{name}"
    if phrase == "division by zero":
        with pytest.raises(ZeroDivisionError) as raised:
            load_problem(reference)
        assert user_code_location(raised.value) == "calling spec()"
    elif phrase == "calling train_loader":  # what a function makes may be a LightningModule with a loader of its own
        with pytest.raises(ModelFileError, match=r"model\.py:spec has no train_loader"):
            build_trial(load_problem(reference), place=lambda model: model)
    else:
        with pytest.raises(ModelFileError) as caught:
            load_problem(reference)
        assert phrase in str(caught.value)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("def model():\n    1 / 0\n" + LOADER, "calling model()"),
        (MODEL + "def train_loader():\n    1 / 0\n", "calling train_loader()"),
        (GOOD + "def optimizer(params, lr):\n    1 / 0\n", "calling optimizer(params, lr)"),
        (GOOD + "def loss_fn():\n    1 / 0\n", "calling loss_fn()"),
        (GOOD + "def loss_fn(output, target):\n    1 / 0\n", "calling loss_fn(output, target)"),
        (GOOD + "def training_step(model, batch):\n    1 / 0\n", "calling training_step(model, batch)"),
        (inferred_of("1 / 0", "0"), "running the model on a batch"),
        (inferred_of("1 / 0", "0") + "loss_fn = nn.MSELoss()\n", "running the model on a batch"),
    ],
)
def test_the_users_exceptions_pass_through_with_their_place(
    build: Callable[..., BuiltProblem], first_loss: Callable[[BuiltProblem], torch.Tensor], text: str, place: str
) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        first_loss(build(text))
    assert user_code_location(caught.value) == place


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        (GOOD, "train_loader is a list, already made"),
        (MODEL + "train_loader = DataLoader([1], batch_size=2)\n", "train_loader is a DataLoader, already made"),
        (MODEL + "def train_loader():\n    return []\n", "train_loader() has no parameter of that name"),
        (MODEL + "def train_loader():\n    yield 1\n", "train_loader() has no parameter of that name"),
    ],
)
def test_a_batch_size_that_cant_be_passed_is_bad_usage(
    build: Callable[..., BuiltProblem], text: str, phrase: str
) -> None:
    with pytest.raises(UsageError) as caught:
        build(text, batch_size=32)
    assert "the batch size 32 can't be passed" in str(caught.value)
    assert phrase in str(caught.value)
    assert "def train_loader(batch_size=64)" in str(caught.value.hint)
