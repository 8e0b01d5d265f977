"""Batches without end, and where they do end."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.utils.data import DataLoader, DistributedSampler, IterableDataset

from lrfinder.engine.data.fetch import Fetch, endless
from lrfinder.errors import ModelFileError


def take(loader, count, first_epoch=0):
    fetch = Fetch("train_loader", 0.0)
    return list(itertools.islice(endless(loader, first_epoch=first_epoch, where="model.py", fetch=fetch), count))


def test_starts_again():
    assert take([1, 2, 3], 7) == [1, 2, 3, 1, 2, 3, 1]


def test_an_endless_iterable_that_has_no_length():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(itertools.count())

        def __len__(self):
            raise AssertionError("nobody may ask")

    assert [batch.tolist() for batch in take(DataLoader(Stream(), batch_size=2), 3)] == [[0, 1], [2, 3], [4, 5]]


def test_an_iterator_ends_and_is_not_started_again():
    assert take(iter([1, 2]), 9) == [1, 2]


def test_a_stream_that_is_used_up_ends():
    class UsedUp(IterableDataset):
        rows = iter([1, 2, 3])

        def __iter__(self):
            return iter(self.rows)

    loader = DataLoader(UsedUp(), batch_size=None)
    assert take(loader, 9) == [1, 2, 3]
    assert take(loader, 9, first_epoch=50) == []  # a later repeat


def test_empty():
    with pytest.raises(ModelFileError, match=r"model\.py: train_loader gave no batch"):
        take([], 1)


def test_objects_with_getitem_alone_are_iterated_over():
    class Old:
        def __getitem__(self, index):
            return [10, 20][index]

    assert take(Old(), 3) == [10, 20, 10]


def test_samplers_are_told_the_epoch_and_shuffle_anew():
    sampler = DistributedSampler(range(8), num_replicas=1, rank=0, shuffle=True)
    loader = DataLoader(list(range(8)), sampler=sampler, batch_size=8)
    first, second = (batch.tolist() for batch in take(loader, 2))
    (later,) = (batch.tolist() for batch in take(loader, 1, first_epoch=2))
    assert sorted(first) == list(range(8))
    assert len({tuple(order) for order in (first, second, later)}) == 3
    expected = []
    for epoch in range(2):
        generator = torch.Generator().manual_seed(epoch)  # torch documents: seed + epoch
        expected.append(torch.randperm(8, generator=generator).tolist())
    assert [first, second] == expected


def test_a_loader_with_set_epoch_of_its_own():
    class Loader(list):
        epochs = []  # noqa: RUF012 - shared on purpose

        def set_epoch(self, epoch):
            self.epochs.append(epoch)

    take(Loader([1]), 3, first_epoch=7)
    assert Loader.epochs == [7, 8, 9]


def test_an_iterator_that_is_used_up_is_told_from_an_empty_data_set():
    used = iter([1, 2])
    assert take(used, 9) == [1, 2]
    with pytest.raises(ModelFileError, match="train_loader gave no batch") as raised:
        take(used, 1)
    assert "a function that returns a new one" in raised.value.hint
