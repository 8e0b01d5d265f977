"""The data that a run is judged by: the same batches for the same seed, in parts where memory is short."""

from __future__ import annotations

import multiprocessing

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from helpers.problems import CPU
from lrfinder.engine.losses.evaluation import evaluate, validation_batches
from lrfinder.errors import ModelFileError
from lrfinder.task.problem import BuiltProblem
from lrfinder.task.split import split

INPUTS = torch.randn(22, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def trial(loss):
    model = nn.Linear(3, 1).double()
    return BuiltProblem(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        group_ratios=(1.0,),
        loader=(),
        loss=loss,
        loss_note=lambda: "",
        optimizer_note="model file",
    )


def test_a_batch_that_does_not_fit_is_judged_in_parts():
    seen = []

    def loss(model, batch):
        seen.append(len(batch))
        return model(batch).square().mean()

    made = trial(loss)
    batches = [INPUTS[:16], INPUTS[16:]]
    found = evaluate(made, batches, device=CPU, seed=0, split=lambda batch: split(batch, 4))
    assert seen == [4, 4, 4, 4, 1, 2, 1, 2]
    with torch.no_grad():
        assert found == pytest.approx(made.model(INPUTS).square().mean().item(), rel=1e-12)


def test_what_a_loss_does_to_a_batch_is_done_to_a_copy():
    def loss(model, batch):
        return model(batch.add_(1)).mean()

    batches, before = [INPUTS[:4].clone()], INPUTS[:4].clone()
    made = trial(loss)
    for parts in (None, lambda batch: split(batch, 2)):
        first, again = (evaluate(made, batches, device=CPU, seed=0, split=parts) for _ in range(2))
        assert first == again
        assert torch.equal(batches[0], before)


def shuffled(kind):
    data, generator = TensorDataset(torch.arange(32)), torch.Generator().manual_seed(5)
    if kind == "loader":
        return DataLoader(data, batch_size=4, shuffle=True, generator=generator), generator
    return DataLoader(data, batch_size=4, sampler=RandomSampler(data, generator=generator)), generator


@pytest.mark.parametrize("kind", ["loader", "sampler"])
def test_a_val_loader_with_a_generator_of_its_own_gives_the_same_batches_for_the_same_seed(kind):
    loader, generator = shuffled(kind)

    def taken(seed):
        state = generator.get_state()
        batches = validation_batches(loader, 3, seed=seed, where="model.py")
        assert torch.equal(generator.get_state(), state)
        torch.rand(1, generator=generator)  # wherever it is
        return [batch.tolist() for (batch,) in batches]

    first, other, again = taken(1), taken(2), taken(1)
    assert first == again != other
    assert [len(batch) for batch in first] == [4, 4, 4]


def test_workers_that_the_user_keeps_are_left_alone_and_others_end():
    data = TensorDataset(torch.arange(8))
    kept = DataLoader(data, batch_size=4, num_workers=1, persistent_workers=True)
    assert len(list(kept)) == 2
    (worker,) = multiprocessing.active_children()
    assert len(validation_batches(kept, 1, seed=0, where="model.py")) == 1
    assert multiprocessing.active_children() == [worker]
    kept._iterator._shutdown_workers()
    validation_batches(DataLoader(data, batch_size=4, num_workers=1), 1, seed=0, where="model.py")
    assert multiprocessing.active_children() == []


def test_no_more_is_taken_than_asked_for_and_nothing_is_an_error():
    taken = []
    loader = (taken.append(number) or number for number in range(9))
    assert validation_batches(loader, 3, seed=0, where="model.py") == [0, 1, 2]
    assert taken == [0, 1, 2]
    with pytest.raises(ModelFileError) as raised:
        validation_batches([], 3, seed=0, where="model.py")
    assert str(raised.value) == "model.py: val_loader gave no batch"
    assert raised.value.hint == (
        "is the data set empty? Leave val_loader out, and batches of the train_loader are set aside instead"
    )


@pytest.mark.parametrize("batch", [np.ones((4, 3)), pd.DataFrame({"x": [1.0, 2.0]})], ids=["NumPy", "pandas"])
def test_batches_may_be_of_a_kind_that_compares_number_by_number(batch):
    found = validation_batches([batch] * 3, 2, seed=0, where="here")
    assert [type(kept) for kept in found] == [type(batch)] * 2
    assert all((kept == batch).all(axis=None) for kept in found)
