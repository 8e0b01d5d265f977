"""Moving a batch keeps its structure, its types and the original."""

from __future__ import annotations

import collections
import dataclasses
import types
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from lrfinder.task.batches import to_device

# The device without storage: a tensor that was moved there can't be mistaken for one that was left behind.
META = torch.device("meta")


class Pair(NamedTuple):
    first: Any
    second: Any


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    image: Any
    label: Any


tensors = st.sampled_from([(2,), (1, 3), (), (0,)]).map(torch.zeros)
leaves = st.one_of(tensors, st.integers(), st.text(max_size=3), st.none(), st.just(frozenset({1})))
batches = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=2), inner, max_size=3),
        st.dictionaries(st.text(max_size=2), inner, max_size=3).map(collections.OrderedDict),
        st.dictionaries(st.text(max_size=2), inner, max_size=3).map(collections.UserDict),
        st.builds(Pair, inner, inner),
        st.builds(Frozen, inner, inner),
    ),
    max_leaves=8,
)


def outline(batch: Any) -> Any:
    """Types and shapes, all the way down, with devices left out."""
    if isinstance(batch, torch.Tensor):
        return "tensor", tuple(batch.shape), batch.dtype
    if isinstance(batch, dict | collections.UserDict):
        return type(batch), [(key, outline(value)) for key, value in batch.items()]
    if isinstance(batch, list | tuple):
        return type(batch), [outline(item) for item in batch]
    if isinstance(batch, Frozen):
        return Frozen, outline(batch.image), outline(batch.label)
    return batch


def devices(batch: Any) -> set[str]:
    if isinstance(batch, torch.Tensor):
        return {batch.device.type}
    if isinstance(batch, dict | collections.UserDict):
        return set().union(*map(devices, batch.values()))
    if isinstance(batch, list | tuple):
        return set().union(*map(devices, batch))
    if isinstance(batch, Frozen):
        return devices(batch.image) | devices(batch.label)
    return set()


@settings(deadline=None)  # a busy machine is no failure
@given(batches)
def test_structure_is_kept_and_every_tensor_moves(batch: Any) -> None:
    before = outline(batch)
    moved = to_device(batch, META)
    assert outline(moved) == before
    assert devices(moved) <= {"meta"}
    assert outline(batch) == before
    assert devices(batch) <= {"cpu"}


@settings(deadline=None)  # a busy machine is no failure
@given(batches)
def test_where_it_is_already_no_tensor_is_copied(batch: Any) -> None:
    moved = to_device(batch, torch.device("cpu"))
    assert outline(moved) == outline(batch)


def test_the_same_device_keeps_the_same_tensor() -> None:
    tensor = torch.ones(2)
    assert to_device((tensor,), torch.device("cpu"))[0] is tensor


def test_a_defaultdict_keeps_its_factory() -> None:
    moved = to_device(collections.defaultdict(list, a=torch.ones(1)), META)
    assert moved["a"].device == META
    assert moved["new"] == []


def test_a_read_only_mapping_becomes_a_dict() -> None:
    moved = to_device(types.MappingProxyType({"a": torch.ones(1)}), META)
    assert type(moved) is dict
    assert moved["a"].device == META


@pytest.mark.parametrize("returns", [True, False])  # Lightning takes a batch whose `to` forgets to return it, too
def test_an_object_moves_itself_and_the_original_stays(returns: bool) -> None:
    class Graph:
        def __init__(self) -> None:
            self.nodes = torch.ones(2)

        def to(self, device: torch.device) -> Graph | None:
            self.nodes = self.nodes.to(device)
            return self if returns else None

    graph = Graph()
    assert to_device([graph], META)[0].nodes.device == META
    assert graph.nodes.device.type == "cpu"


def test_a_packed_sequence_stays_one() -> None:
    packed = pack_sequence([torch.ones(2), torch.ones(1)])
    moved = to_device(packed, torch.device("cpu"))
    assert isinstance(moved, PackedSequence)
    assert torch.equal(moved.data, packed.data)


def test_a_tokenizers_batch_encoding_moves_without_changing() -> None:
    from transformers import BatchEncoding

    encoding = BatchEncoding({"input_ids": torch.ones(2, 3, dtype=torch.int64), "text": ["a", "b"]})
    moved = to_device(encoding, META)
    assert isinstance(moved, BatchEncoding)
    assert moved["input_ids"].device == META
    assert moved["text"] == ["a", "b"]
    assert encoding["input_ids"].device.type == "cpu"


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_pinned_and_plain_tensors_arrive_on_the_gpu() -> None:
    plain = torch.arange(5.0)
    for tensor in (plain, plain.pin_memory()):
        moved = to_device({"x": (tensor,)}, torch.device("cuda"))["x"][0]
        torch.cuda.synchronize()
        assert moved.is_cuda
        assert torch.equal(moved.cpu(), plain)
