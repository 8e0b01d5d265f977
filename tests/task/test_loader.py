"""Loaders: the batch size is passed on, and data that a function gives can be gone through again."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, SequentialSampler, TensorDataset

from lrfinder.errors import ModelFileError, UsageError, user_code_location
from lrfinder.task.loader import batch_size_of, batches_per_epoch, make_val_loader
from lrfinder.task.problem import BuiltProblem, Problem

MODEL = "def model():\n    return nn.Linear(1, 1)\n"
DATA = TensorDataset(torch.arange(10.0))


class Stream(IterableDataset[int]):
    def __iter__(self):  # type: ignore[no-untyped-def]
        yield from range(3)


class Long:
    """A loader with an odd length, or none."""

    def __init__(self, length: int | Exception) -> None:
        self.length = length

    def __len__(self) -> int:
        if isinstance(self.length, Exception):
            raise self.length
        return self.length

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter([1, 2, 3])


@pytest.mark.parametrize(
    "function",
    [
        "def train_loader(batch_size=2):\n    return [batch_size]",
        "def train_loader(batch_size):\n    return [batch_size]",
        "def train_loader(*, batch_size=2):\n    return [batch_size]",
        "def train_loader(**options):\n    return [options['batch_size']]",
        "def train_loader(batch_size=2):\n    yield batch_size",
        """
class train_loader:
    def __init__(self, batch_size=2):
        self.size = batch_size
    def __iter__(self):
        return iter([self.size])
""",
        """
import functools
def make(folder, batch_size):
    return [batch_size]
train_loader = functools.partial(make, "folder")
""",
    ],
)
def test_the_batch_size_is_passed_on(build: Callable[..., BuiltProblem], function: str) -> None:
    assert list(build(MODEL + function, batch_size=7).loader) == [7]


def test_a_val_loader_gets_the_batch_size_only_if_it_has_none() -> None:
    def batches(val_loader: Callable[..., list[int]], size: int | None) -> list[int]:
        problem = Problem(name="net", model=nn.Identity, val_loader=val_loader, batch_size=size)
        return list(make_val_loader(problem) or ())

    assert batches(lambda batch_size: [batch_size], 7) == [7]
    assert batches(lambda batch_size=3: [batch_size], 7) == [3]
    assert batches(lambda: [1], 7) == [1]
    with pytest.raises(UsageError, match=r"val_loader\(batch_size\) has no default"):
        batches(lambda batch_size: [batch_size], None)
    with pytest.raises(ModelFileError, match=r"val_loader needs arguments \(folder\)"):
        batches(lambda folder: [folder], 7)


def test_without_a_batch_size_the_default_is_the_files(build: Callable[..., BuiltProblem]) -> None:
    assert list(build(MODEL + "def train_loader(batch_size=2):\n    return [batch_size]").loader) == [2]


def test_a_batch_size_without_default_must_be_given(build: Callable[..., BuiltProblem]) -> None:
    with pytest.raises(UsageError, match="no default") as caught:
        build(MODEL + "def train_loader(batch_size):\n    return [batch_size]")
    assert "--batch-size" in str(caught.value.hint)


@pytest.mark.parametrize("body", ["yield from [1, 2]", "return iter([1, 2])", "return (x for x in [1, 2])"])
def test_iterators_start_again(build: Callable[..., BuiltProblem], body: str) -> None:
    loader = build(f"{MODEL}def train_loader():\n    {body}").loader
    assert [list(loader), list(loader)] == [[1, 2], [1, 2]]


def test_a_live_iterator_runs_dry(build: Callable[..., BuiltProblem]) -> None:
    loader = build(MODEL + "train_loader = iter([1, 2])").loader
    assert [list(loader), list(loader)] == [[1, 2], []]


def test_a_loader_from_a_function_is_handed_on_as_it_is(build: Callable[..., BuiltProblem]) -> None:
    loader = build(MODEL + "def train_loader():\n    return DataLoader([1, 2, 3], batch_size=2)").loader
    assert type(loader) is DataLoader


@pytest.mark.parametrize(
    ("loader", "size", "count"),
    [
        (DataLoader(DATA, batch_size=4), 4, 3),
        (DataLoader(DATA, batch_size=4, drop_last=True), 4, 2),
        (DataLoader(DATA, batch_sampler=BatchSampler(SequentialSampler(DATA), 5, drop_last=False)), 5, 2),
        (DataLoader(DATA, batch_size=None), None, 10),
        (DataLoader(Stream(), batch_size=2), 2, None),
        ([1, 2, 3], None, 3),
        (iter([1, 2, 3]), None, None),
        (Long(NotImplementedError("no length")), None, None),
        (Long(10**30), None, None),
        (Long(-1), None, None),
    ],
)
def test_what_a_loader_says_of_itself(loader: object, size: int | None, count: int | None) -> None:
    assert batch_size_of(loader) == size  # type: ignore[arg-type]
    assert batches_per_epoch(loader) == count  # type: ignore[arg-type]


def test_a_length_that_fails_is_the_user_s_own_failure() -> None:
    with pytest.raises(AttributeError) as caught:
        batches_per_epoch(Long(AttributeError("no data yet")))  # type: ignore[arg-type]
    assert user_code_location(caught.value) == "taking len(train_loader)"


def test_a_data_module_is_told_from_a_loader(build: Callable[..., BuiltProblem]) -> None:
    module = "class Data:\n    def train_dataloader(self):\n        return [1]\ntrain_loader = Data()"
    with pytest.raises(ModelFileError, match="a data module has loaders, and is none"):
        build(MODEL + module)
