"""The loss: which one is used, what is said of it, and that inferred ones equal torch's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from lrfinder.errors import ModelFileError
from lrfinder.task.inferred import InferredLoss
from lrfinder.task.loss import make_loss
from lrfinder.task.problem import BuiltProblem, Problem


class Same(nn.Module):
    """Gives its input back, as something to train."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight * x


def inferred(output: torch.Tensor, target: torch.Tensor) -> tuple[float, str]:
    loss = InferredLoss(Same(), "model.py")
    return loss(Same(), (output, target)).item(), loss.note()


axes = st.lists(st.integers(1, 4), min_size=0, max_size=2)


@settings(deadline=None)  # a busy machine is no failure
@given(st.integers(1, 5), st.integers(2, 6), axes, st.integers(0, 2**16))
def test_integer_targets_mean_cross_entropy_in_torchs_layout(n: int, classes: int, rest: list[int], seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    output = torch.randn(n, classes, *rest, generator=random)
    target = torch.randint(classes, (n, *rest), generator=random)
    if [n, classes, *rest][:-1] == [n, *rest] and rest:  # the classes could be first or last: refused, tested elsewhere
        return
    loss, note = inferred(output, target)
    assert loss == pytest.approx(functional.cross_entropy(output, target).item())
    assert note == "cross-entropy (inferred: the target is int64)"


@settings(deadline=None)  # a busy machine is no failure
@given(st.integers(1, 5), st.integers(2, 6), st.integers(1, 6), st.integers(0, 2**16))
def test_a_sequence_model_may_have_its_classes_last(n: int, classes: int, length: int, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    output = torch.randn(n, length, classes, generator=random)
    target = torch.randint(classes, (n, length), generator=random)
    if length == classes:
        return
    loss, _ = inferred(output, target)
    assert loss == pytest.approx(functional.cross_entropy(output.transpose(1, 2), target).item(), rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8])
def test_every_integer_type_counts_classes(dtype: torch.dtype) -> None:
    output, target = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 1])
    loss, note = inferred(output, target.to(dtype))
    assert loss == pytest.approx(functional.cross_entropy(output, target).item())
    assert str(dtype).removeprefix("torch.") in note


def test_the_ignored_class_is_ignored() -> None:
    output, target = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, -100, 2, -100])
    assert inferred(output, target)[0] == pytest.approx(functional.cross_entropy(output, target).item())


@settings(deadline=None)  # a busy machine is no failure
@given(st.integers(1, 5), axes, st.sampled_from([torch.float16, torch.float32, torch.float64]), st.integers(0, 2**16))
def test_float_targets_mean_squared_error(n: int, rest: list[int], dtype: torch.dtype, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    output = torch.randn(n, *rest, generator=random)
    target = torch.randn(n, *rest, generator=random).to(dtype)
    loss, note = inferred(output, target)
    assert loss == pytest.approx(((output - target.float()) ** 2).mean().item(), rel=1e-5)
    assert note == f"mean squared error (inferred: the target is {str(dtype).removeprefix('torch.')})"


@pytest.mark.parametrize(("output", "target"), [((4, 1), (4,)), ((4,), (4, 1)), ((4, 1, 3), (4, 3))])
def test_a_column_against_a_row_is_not_broadcast(output: tuple[int, ...], target: tuple[int, ...]) -> None:
    size = torch.Size(output).numel()
    values, wanted = torch.arange(float(size)), torch.arange(float(size)) ** 2
    loss, _ = inferred(values.view(output), wanted.view(target))
    assert loss == pytest.approx(((values - wanted) ** 2).mean().item())


LOSS_OF_ITS_OWN = """
class model(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(3.0))
    def forward(self, FORWARD):
        import types
        return RETURNED
train_loader = [BATCH]
"""


PAIR = "(torch.tensor(2.0), torch.tensor(1.0))"


@pytest.mark.parametrize(
    ("forward", "returned", "batch", "loss"),
    [
        ("x, labels", "{'loss': self.weight * x + labels}", "dict(x=torch.tensor(2.0), labels=torch.tensor(1.0))", 7),
        ("x, y", "types.SimpleNamespace(loss=self.weight * x + y)", PAIR, 7),
        ("x, targets=None", "{'loss': self.weight * x + targets}", f"list({PAIR})", 7),
        ("x, mask=None", "{'loss': self.weight * x}", PAIR, 6),
        ("x", "types.SimpleNamespace(loss=self.weight * x)", "torch.tensor(2.0)", 6),
        ("x", "types.SimpleNamespace(loss=self.weight * x)", "(torch.tensor(2.0),)", 6),
        ("x, mask=None", "self.weight * x if mask is None else None", PAIR, 25),
        ("*x", "self.weight * x[0]", PAIR, 25),
    ],
)
def test_what_the_model_is_given_where_there_is_no_loss_function(
    first_loss_of: Callable[[str], float], forward: str, returned: str, batch: str, loss: float
) -> None:
    text = LOSS_OF_ITS_OWN.replace("FORWARD", forward).replace("RETURNED", returned).replace("BATCH", batch)
    assert first_loss_of(text) == loss


@pytest.fixture
def first_loss_of(
    build: Callable[..., BuiltProblem], first_loss: Callable[[BuiltProblem], torch.Tensor]
) -> Callable[[str], float]:
    return lambda text: first_loss(build(text)).item()


def test_the_model_may_return_its_loss_in_a_shape_of_one(build: Callable[..., BuiltProblem]) -> None:
    text = LOSS_OF_ITS_OWN.replace("FORWARD", "x").replace("RETURNED", "{'loss': self.weight * x}")
    trial = build(text.replace("BATCH", "dict(x=torch.tensor([2.0]))"))
    assert trial.loss(trial.model, next(iter(trial.loader))).shape == ()
    assert trial.loss_note() == "the model's own (dict.loss)"


@pytest.mark.parametrize(
    ("loss", "note"),
    [
        ("loss_fn = nn.HuberLoss()", "loss_fn HuberLoss"),
        ("def loss_fn(output, target):\n    return output.sum()", "loss_fn loss_fn"),
        ("loss_fn = nn.functional.mse_loss", "loss_fn mse_loss"),
        ("def training_step(model, batch):\n    return model(batch[0]).sum()", "training_step"),
        ("", "to be inferred from the first batch"),
    ],
)
def test_notes_before_the_first_batch(build: Callable[..., BuiltProblem], loss: str, note: str) -> None:
    file = "model = nn.Linear(3, 2)\ntrain_loader = [(torch.ones(4, 3), torch.zeros(4, 2))]\n"
    assert build(file + loss).loss_note() == note


def test_without_gradients_the_loss_is_still_a_loss() -> None:
    loss = make_loss(Problem(name="net", model=Same(), train_loader=[], loss_fn=nn.MSELoss()), Same())
    with torch.no_grad():
        assert loss(Same(), (torch.ones(2), torch.zeros(2))).item() == 1.0


def test_a_loss_with_weights_follows_the_model_and_stays_as_it_was() -> None:
    weighted = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 3.0]))
    net: Any = nn.Linear(3, 2).to("meta")
    loss = make_loss(Problem(name="net", model=net, train_loader=[], loss_fn=weighted), net)
    batch = torch.ones(4, 3, device="meta"), torch.zeros(4, dtype=torch.int64, device="meta")
    assert loss(net, batch).device.type == "meta"
    assert weighted.weight is not None
    assert weighted.weight.device.type == "cpu"


@pytest.mark.parametrize("step", ["{'loss': loss, 'accuracy': 1}", "collections.OrderedDict(loss=loss)"])
def test_a_mapping_may_hold_the_loss_beside_others(
    build: Callable[..., BuiltProblem], first_loss: Any, step: str
) -> None:
    text = f"""
import collections
def model():
    return nn.Linear(1, 1)
train_loader = [(torch.ones(2, 1), torch.zeros(2, 1))]
def training_step(model, batch):
    loss = (model(batch[0]) - batch[1]).pow(2).mean()
    return {step}
"""
    alone = build(text.replace(step, "loss"))
    assert first_loss(build(text)).item() == first_loss(alone).item()


@pytest.mark.parametrize(
    ("step", "phrase", "hint"),
    [
        ("{'box': loss, 'class': loss}", "a dict with the keys box, class", "sum(losses.values())"),
        ("(loss, loss)", "a tuple of 2", "alone"),
    ],
)
def test_several_losses_are_told_what_to_do(
    build: Callable[..., BuiltProblem], first_loss: Any, step: str, phrase: str, hint: str
) -> None:
    text = f"""
def model():
    return nn.Linear(1, 1)
train_loader = [(torch.ones(2, 1), torch.zeros(2, 1))]
def training_step(model, batch):
    loss = model(batch[0]).mean()
    return {step}
"""
    with pytest.raises(ModelFileError, match=phrase) as caught:
        first_loss(build(text))
    assert hint in str(caught.value.hint)
