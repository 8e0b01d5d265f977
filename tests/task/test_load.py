"""Every form of a model file that the contract allows, from the file to a loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lrfinder.errors import ModelFileError, UsageError
from lrfinder.task.build import build_trial
from lrfinder.task.load import load_problem
from lrfinder.task.names import make_problem
from lrfinder.task.problem import BuiltProblem

Build = Callable[..., BuiltProblem]
FirstLoss = Callable[[BuiltProblem], torch.Tensor]

NET = "nn.Linear(3, 2)"
DATA = "[(torch.ones(4, 3), torch.tensor([0, 1, 0, 1]))]"

MODELS = {
    "function": f"def model():\n    return {NET}",
    "lambda": f"model = lambda: {NET}",
    "object": f"model = {NET}",
    "class": "class model(nn.Linear):\n    def __init__(self):\n        super().__init__(3, 2)",
    "partial": "import functools\nmodel = functools.partial(nn.Linear, 3, 2)",
    "callable object": f"class Maker:\n    def __call__(self):\n        return {NET}\nmodel = Maker()",
    "class with __call__": (
        "class Net(nn.Linear):\n    def __init__(self):\n        super().__init__(3, 2)\n"
        "    def __call__(self, x):\n        return super().__call__(x)\nmodel = Net()"
    ),
}
LOADERS = {
    "list": f"train_loader = {DATA}",
    "function": f"def train_loader():\n    return {DATA}",
    "function with batch size": (
        f"def train_loader(batch_size=4):\n    return DataLoader(TensorDataset(*{DATA}[0]), batch_size=batch_size)"
    ),
    "generator function": f"def train_loader():\n    yield from {DATA}",
    "generator": f"train_loader = (batch for batch in {DATA})",
    "iterator from a function": f"def train_loader():\n    return iter({DATA})",
    "loader": f"train_loader = DataLoader(TensorDataset(*{DATA}[0]), batch_size=4)",
    "iterable data set": (
        "class Stream(torch.utils.data.IterableDataset):\n    def __iter__(self):\n"
        f"        yield from {DATA}\ntrain_loader = DataLoader(Stream(), batch_size=None)"
    ),
    "class": f"class train_loader:\n    def __iter__(self):\n        return iter({DATA})",
    "old protocol": (
        f"class Old:\n    def __getitem__(self, index):\n        return {DATA}[index]\ntrain_loader = Old()"
    ),
}
LOSSES = {
    "module": "loss_fn = nn.CrossEntropyLoss()",
    "class": "loss_fn = nn.CrossEntropyLoss",
    "function": "def loss_fn(output, target):\n    return nn.functional.cross_entropy(output, target)",
    "torch function": "loss_fn = nn.functional.cross_entropy",
    "maker": "def loss_fn():\n    return nn.CrossEntropyLoss()",
    "step": (
        "def training_step(model, batch):\n    return nn.functional.cross_entropy(model(batch[0]), batch[1])\n"
        "def loss_fn(output, target):\n    raise AssertionError('training_step wins')"
    ),
    "step maker": (
        "def training_step():\n    return lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1])"
    ),
    "inferred": "",
}


def same_loss(loss: torch.Tensor) -> bool:
    """All forms describe one problem: the loss of a Linear(3, 2) that was made right after `manual_seed(0)`."""
    torch.manual_seed(0)
    net = torch.nn.Linear(3, 2)
    target = torch.tensor([0, 1, 0, 1])
    return math.isclose(loss.item(), torch.nn.functional.cross_entropy(net(torch.ones(4, 3)), target).item())


@pytest.mark.parametrize("form", MODELS)
def test_every_form_of_model(build: Build, first_loss: FirstLoss, form: str) -> None:
    trial = build(f"torch.manual_seed(0)\n{MODELS[form]}\n{LOADERS['list']}\n{LOSSES['module']}")
    assert same_loss(first_loss(trial))


@pytest.mark.parametrize("form", LOADERS)
def test_every_form_of_loader(build: Build, first_loss: FirstLoss, form: str) -> None:
    trial = build(f"{MODELS['function']}\n{LOADERS[form]}\n{LOSSES['module']}")
    assert same_loss(first_loss(trial))


@pytest.mark.parametrize("form", LOSSES)
def test_every_form_of_loss(build: Build, first_loss: FirstLoss, form: str) -> None:
    trial = build(f"{MODELS['function']}\n{LOADERS['list']}\n{LOSSES[form]}")
    assert same_loss(first_loss(trial))


FILE = f"{MODELS['function']}\n{LOADERS['list']}\n{LOSSES['module']}\n"


@pytest.mark.parametrize(
    "pointed_at",
    [
        "def spec():\n    return dict(model=model, train_loader=train_loader, loss_fn=loss_fn)",
        "spec = dict(model=model, train_loader=train_loader, loss_fn=loss_fn, optimizer=None)",
        "import types\nspec = types.SimpleNamespace(model=model, train_loader=train_loader, loss_fn=loss_fn)",
        "class spec:\n    model = staticmethod(model)\n    train_loader = train_loader\n    loss_fn = loss_fn",
        """
class spec:
    def __init__(self):
        self.loss_fn = loss_fn
    def model(self):
        return model()
    def train_loader(self):
        return train_loader
""",
        """
import dataclasses, typing
@dataclasses.dataclass
class Spec:
    model: typing.Any = model
    train_loader: typing.Any = dataclasses.field(default_factory=lambda: train_loader)
def spec(width=3):
    return Spec()
""",
    ],
)
def test_a_name_in_the_file_points_at_the_names(
    write: Callable[..., str], first_loss: FirstLoss, pointed_at: str
) -> None:
    problem = load_problem(write(FILE + pointed_at) + ":spec")
    assert (problem.name, problem.where) == ("model-spec", "model.py:spec")
    torch.manual_seed(0)
    assert same_loss(first_loss(build_trial(problem, place=lambda model: model)))


def test_of_an_object_no_property_is_computed_that_training_does_not_need(write: Callable[..., str]) -> None:
    spec = """
class spec:
    model, loss_fn = nn.Linear(3, 2), staticmethod(loss_fn)
    @property
    def train_loader(self):
        return train_loader
    @property
    def test_loader(self):
        raise FileNotFoundError("test.csv")
"""
    assert len(load_problem(write(FILE + spec) + ":spec").train_loader) == 1
    with pytest.raises(ModelFileError, match="did you mean to call `train_dataloader` train_loader"):
        load_problem(write(FILE + spec.replace("def train_loader", "def train_dataloader")) + ":spec")


def test_a_name_in_a_package(
    write: Callable[..., str], first_loss: FirstLoss, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("", "mine/__init__.py")
    spec = "def spec():\n    return dict(model=build, train_loader=train_loader)"
    write(FILE.replace("def model", "def build") + spec, "mine/nets.py")
    monkeypatch.chdir(tmp_path)
    problem = load_problem("mine.nets:spec")
    torch.manual_seed(0)
    assert same_loss(first_loss(build_trial(problem, place=lambda model: model)))


def test_several_inputs_and_other_sequences(build: Build, first_loss: FirstLoss) -> None:
    text = """
        import collections
        Batch = collections.namedtuple("Batch", "left right target")

        class model(nn.Module):
            def __init__(self):
                super().__init__()
                self.weight = nn.Parameter(torch.tensor(2.0))
            def forward(self, left, right):
                return self.weight * left - right

        train_loader = [BATCH]
        def loss_fn(output, target):
            return (output - target).sum()
        """
    for batch in ("Batch(*map(torch.tensor, (5.0, 3.0, 4.0)))", "[torch.tensor(v) for v in (5.0, 3.0, 4.0)]"):
        assert first_loss(build(text.replace("BATCH", batch))).item() == 2 * 5 - 3 - 4


def test_fresh_weights_for_every_trial_and_live_objects_as_they_are(write: Callable[..., str]) -> None:
    fresh = load_problem(write(FILE))
    first, second = (build_trial(fresh, place=lambda model: model).model for _ in range(2))
    assert first is not second
    live = load_problem(write(FILE.replace(MODELS["function"], f"model = {NET}")))
    first, second = (build_trial(live, place=lambda model: model).model for _ in range(2))
    assert first is second


def test_the_optimizer_sees_the_parameters_on_the_device(write: Callable[..., str]) -> None:
    problem = load_problem(write(FILE))
    trial = build_trial(problem, place=lambda model: model.double())
    (group,) = trial.optimizer.param_groups
    assert [id(p) for p in group["params"]] == [id(p) for p in trial.model.parameters()]
    assert all(p.dtype is torch.float64 for p in group["params"])


def test_names_that_are_none_are_left_out(build: Build) -> None:
    trial = build(FILE + "optimizer = None\ntraining_step = None\nval_loader = None\ncriterion = loss_fn")
    assert trial.optimizer_note == "default"


def test_helpers_with_other_names_are_no_matter(write: Callable[..., str]) -> None:
    names = "from torch import optim\nopt = {'lr': 1}\n_criterion = print\nmodels = [1]\nLR = 3\nloss = 0.0"
    assert load_problem(write(FILE + names)).optimizer is None


def test_nothing_is_written_next_to_the_file(write: Callable[..., str], tmp_path: Path, first_loss: FirstLoss) -> None:
    write("def make():\n    return nn.Linear(3, 2)", "late.py")
    path = write(f"def model():\n    import late\n    return late.make()\n{LOADERS['list']}")
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    trial = build_trial(load_problem(path), place=lambda model: model)
    first_loss(trial).backward()
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before


def test_a_bad_reference_is_bad_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        load_problem(str(tmp_path / "missing.py"))


def test_problems_are_made_without_a_file_too() -> None:
    net = torch.nn.Linear(3, 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    names = {"model": net, "train_loader": [(torch.ones(4, 3), torch.tensor([0, 1, 0, 1]))], "optimizer": optimizer}
    trial = build_trial(make_problem(names, where="sweep()", name="Linear"), place=lambda model: model)
    assert trial.model is net
    assert trial.optimizer is optimizer
