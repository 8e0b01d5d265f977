"""Batches cut into parts, against torch's own concatenation and real containers."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, defaultdict
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_sequence
from torch.utils._pytree import tree_flatten

from lrfinder.task.split import samples_of, split


class Pair(NamedTuple):
    x: torch.Tensor
    y: torch.Tensor


@dataclasses.dataclass(frozen=True)
class Example:
    x: torch.Tensor
    names: list[str]
    scale: float = 2.0


def nested(length: int) -> dict[str, Any]:
    x = torch.arange(float(3 * length)).reshape(length, 3)
    return {
        "tensor": x,
        "list": [x, x[:, 0]],
        "tuple": (x, (x.long(), torch.tensor(5.0))),
        "pair": Pair(x, x + 1),
        "example": Example(x, [f"sample {i}" for i in range(length)]),
        "ordered": OrderedDict(a=x, text="all", number=3, nothing=None),
        "default": defaultdict(list, {"a": x}),
    }


@given(length=st.integers(2, 40), count=st.integers(1, 50))
def test_the_parts_are_the_batch_in_its_order(length: int, count: int) -> None:
    batch = nested(length)
    parts = split(batch, count)
    assert samples_of(batch) == length
    assert len(parts) == min(length, count)
    sizes = [len(part["tensor"]) for _, part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert [share for share, _ in parts] == [size / length for size in sizes]
    assert sum(share for share, _ in parts) == pytest.approx(1.0, rel=1e-12)
    whole, structure = tree_flatten(batch["list"] + list(batch["pair"]))
    pieces = [tree_flatten(part["list"] + list(part["pair"])) for _, part in parts]
    assert all(other == structure for _, other in pieces)
    for index, tensor in enumerate(whole):
        assert torch.equal(torch.cat([leaves[index] for leaves, _ in pieces]), tensor)
    assert [name for _, part in parts for name in part["example"].names] == batch["example"].names


def test_containers_keep_their_types_and_what_belongs_to_all_samples_is_in_every_part() -> None:
    batch = nested(6)
    for _, part in split(batch, 3):
        assert {key: type(value) for key, value in part.items()} == {key: type(value) for key, value in batch.items()}
        assert part["tuple"][1][1] == 5.0
        assert (part["example"].scale, part["ordered"]["text"], part["ordered"]["number"]) == (2.0, "all", 3)
        assert part["default"].default_factory is list
    assert len(batch["tensor"]) == 6


def test_a_tokenizers_batch_encoding() -> None:
    from transformers import BatchEncoding

    encoding = BatchEncoding({"input_ids": torch.arange(12).reshape(4, 3), "labels": torch.arange(4)})
    first, second = (part for _, part in split(encoding, 2))
    assert isinstance(first, BatchEncoding)
    assert torch.equal(torch.cat([first["input_ids"], second["input_ids"]]), encoding["input_ids"])
    assert first["labels"].tolist() == [0, 1]


UNSPLITTABLE = {
    "no tensor": ["a", "b"],
    "lengths that differ": [torch.zeros(4), torch.zeros(5)],
    "a list of samples that are ragged": ([torch.zeros(3), torch.zeros(5)], torch.zeros(2)),
    "a tensor without axes": torch.tensor(1.0),
    "a packed sequence": pack_sequence([torch.ones(2), torch.ones(1)]),
    "a sparse tensor": [torch.eye(3).to_sparse(), torch.zeros(3)],
    "an object that isn't known": [torch.zeros(3), object()],
}


@pytest.mark.parametrize("batch", UNSPLITTABLE.values(), ids=UNSPLITTABLE)
def test_what_can_t_be_split(batch) -> None:
    assert samples_of(batch) is None
    with pytest.raises(ValueError, match="no length in common"):
        split(batch, 2)
