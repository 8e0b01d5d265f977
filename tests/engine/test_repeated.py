"""Batches over and over, against itertools and torch's own sizes."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lrfinder.api.sweeping.broadcast import Broadcast
from lrfinder.engine.data.subset import RepeatedSubset, size_in_bytes
from lrfinder.engine.runtime.device import choose_device
from lrfinder.engine.short_runs import ShortRuns
from lrfinder.records import RunPlan
from lrfinder.task.problem import Problem


@given(there=st.integers(1, 30), number=st.integers(1, 30), taken=st.integers(0, 90))
def test_it_is_a_cycle_of_the_first_ones(there: int, number: int, taken: int) -> None:
    made = list(itertools.islice(RepeatedSubset(iter(range(there)), number), taken))
    assert made == list(itertools.islice(itertools.cycle(range(min(there, number))), taken))


def test_nothing_is_taken_from_the_loader_before_it_is_needed() -> None:
    source = itertools.count()
    repeated = RepeatedSubset(source, 3)
    assert [next(repeated) for _ in range(7)] == [0, 1, 2, 0, 1, 2, 0]
    assert next(source) == 3


def test_of_nothing_nothing_comes() -> None:
    assert list(RepeatedSubset(iter(()), 3)) == []


def test_what_is_too_large_to_keep_is_passed_on_fresh() -> None:
    batches = [torch.full((100,), float(i)) for i in range(10)]
    repeated = RepeatedSubset(iter(batches), 4, most_bytes=1000)
    assert [int(batch[0]) for batch in repeated] == list(range(10))
    assert repeated.too_large


def test_sizes() -> None:
    x = torch.zeros(3, 5, dtype=torch.float64)
    assert size_in_bytes(x) == x.untyped_storage().nbytes()
    assert size_in_bytes((x, [x, {"a": x, "b": 3}], SimpleNamespace(y=x, z="text"))) == 4 * 120
    looped = SimpleNamespace(x=x)
    looped.self = looped
    assert size_in_bytes(looped) == 120


def test_a_short_run_sees_its_first_batches_over_and_over_and_may_take_them_apart() -> None:
    """What a training pops from a batch, it pops from its own container."""
    seen: list[int] = []

    def loss(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        x = batch.pop("x")
        if model.training:
            seen.append(round(1000 * (x[0, 0].item() - 1)))
        return model(x).pow(2).mean()

    problem = Problem(
        name="seen",
        where="test",
        model=nn.Linear(2, 1),
        # Batches that are nearly alike: else the losses to judge by would be compared in training mode, too.
        train_loader=[{"x": torch.full((8, 2), 1 + i / 1000)} for i in range(20)],
        optimizer=lambda parameters, lr: torch.optim.SGD(parameters, lr=lr),
        training_step=loss,
    )
    with ShortRuns(problem, seed=0, device=choose_device("cpu"), observer=Broadcast([])) as runs:
        made = runs.run(RunPlan(lr=1e-4, steps=7, batches=3))
        again = runs.run(RunPlan(lr=1e-4, steps=7, batches=3))
    assert seen[:7] == [4, 5, 6, 4, 5, 6, 4], "four were set aside to judge by"
    assert seen[7:14] == seen[:7]
    assert made == again
    assert made.fresh is False


def test_what_takes_just_the_memory_there_is_is_kept() -> None:
    batches = [torch.full((100,), float(i)) for i in range(4)]
    for most, kept in ((800, True), (799, False)):
        repeated = RepeatedSubset(iter(batches), 2, most_bytes=most)
        assert [int(batch[0]) for batch in itertools.islice(repeated, 4)] == ([0, 1, 0, 1] if kept else [0, 1, 2, 3])
        assert repeated.too_large is not kept
