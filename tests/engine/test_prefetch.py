"""Reading ahead changes nothing but when a batch is read: the order, the end, the errors and the results stay."""

from __future__ import annotations

import dataclasses
from collections import namedtuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lrfinder.engine.data.prefetch
import lrfinder.engine.preparation
from helpers.problems import CPU
from lrfinder.engine.data.prefetch import ReadAhead, read_ahead, tensors_in
from lrfinder.engine.sweep import run_sweep
from lrfinder.errors import EnvironmentFailure, user_code_location
from lrfinder.records import Stop, SweepSettings
from lrfinder.task.problem import Problem

CUDA = torch.device("cuda")


class Carrier:
    """Notes what it is asked to do; a batch in `heavy` can't be sent."""

    def __init__(self, heavy=()):
        self.did = []
        self.heavy = heavy

    def start(self, batch):
        self.did.append(f"send {batch}")
        if batch in self.heavy:
            raise MemoryError("no room")
        return f"sent {batch}"

    def finish(self, batch):
        self.did.append(f"receive {batch}")
        return batch.removeprefix("sent ")


def numbers(count, carrier, error=None):
    for number in range(count):
        carrier.did.append(f"read {number}")
        yield str(number)
    if error is not None:
        raise error


def test_the_next_one_is_sent_before_this_one_is_passed_on():
    carrier = Carrier()
    ahead = ReadAhead(numbers(3, carrier), carrier)
    assert carrier.did == []  # nothing is read before anybody asks: a batch may be set aside first
    assert next(ahead) == "0"
    assert carrier.did == ["read 0", "send 0", "receive sent 0", "read 1", "send 1"]
    assert list(ahead) == ["1", "2"]
    with pytest.raises(StopIteration):
        next(ahead)


@given(st.integers(0, 9), st.sets(st.integers(0, 9)), st.booleans())
def test_each_comes_once_in_order_and_an_error_in_its_turn(count, heavy, fails):
    carrier = Carrier({str(number) for number in heavy})
    ahead = ReadAhead(numbers(count, carrier, OSError("mine") if fails else None), carrier)
    assert [next(ahead) for _ in range(count)] == [str(number) for number in range(count)]
    with pytest.raises(OSError if fails else StopIteration):
        next(ahead)


@pytest.mark.parametrize("fails_at", [0, 1, 4, None])
@pytest.mark.parametrize("workers", [0, 1])
def test_a_sweep_tells_the_same(recorder, monkeypatch, fails_at, workers):
    def traces(ahead):
        observer, said = recorder(), None
        monkeypatch.setattr(
            lrfinder.engine.preparation,
            "read_ahead",
            lambda _, batches, *__, **___: ReadAhead(batches, Plain()) if ahead else batches,
        )
        try:
            run_sweep(problem(fails_at, workers), SweepSettings(steps=12, repeats=2), device=CPU, observer=observer)
        except (ValueError, EnvironmentFailure) as error:
            said = (type(error), str(error).partition("\n")[0], user_code_location(error))
        return observer.traces, said

    class Plain:
        def start(self, batch):
            return batch

        finish = start

    alone, ahead = traces(ahead=False), traces(ahead=True)
    assert alone == ahead
    assert (alone[0][-1].stop is Stop.FAILED) == (fails_at is not None)


class Failing(TensorDataset):
    """Data of which the sample at a place can't be read."""

    at = None

    def __getitem__(self, index):
        if self.at is not None and index == 4 * self.at:
            raise ValueError("rotten")
        return super().__getitem__(index)


def problem(fails_at, workers):
    inputs = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    data = Failing(inputs, inputs.sum(1, keepdim=True))
    data.at = fails_at
    loader = DataLoader(data, batch_size=4, num_workers=workers)
    return Problem(
        name="p", model=lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)),
        train_loader=loader, loss_fn=nn.functional.mse_loss,
        optimizer=lambda params, lr: torch.optim.SGD(params, lr=lr),
    )  # fmt: skip


def test_where_nothing_is_read_ahead():
    batches = iter([1, 2])
    plain = problem(None, 0)
    assert read_ahead(plain, batches, CPU, micro_batches=1) is batches
    assert read_ahead(plain, batches, CUDA, micro_batches=2) is batches
    assert read_ahead(dataclasses.replace(plain, train_loader=iter([])), batches, CUDA, micro_batches=1) is batches


def test_tensors_are_found_however_they_are_nested():
    one, two, three = torch.zeros(1), torch.zeros(2), torch.zeros(3)
    pair = namedtuple("pair", "a b")  # noqa: PYI024
    assert [len(t) for t in tensors_in({"x": [one, (two, "text")], "y": pair(three, 5)})] == [1, 2, 3]
    assert tensors_in("text") == []

    class Moves:
        def to(self, device):
            return self

    assert tensors_in([one, Moves()]) is None


def test_batches_for_a_gpu_are_read_ahead_and_sent_there(monkeypatch):
    carrier, devices = Carrier(), []
    monkeypatch.setattr(lrfinder.engine.data.prefetch, "CopyStream", lambda device: devices.append(device) or carrier)
    ahead = read_ahead(problem(None, 0), numbers(2, carrier), CUDA, micro_batches=1)
    assert list(ahead) == ["0", "1"]
    assert devices == [CUDA]
    assert carrier.did == ["read 0", "send 0", "receive sent 0", "read 1", "send 1", "receive sent 1"]
