"""Loaders and batches of every shape, swept for real and given back: the numbers of a bare loop, the same state."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import multiprocessing
import warnings
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, RandomSampler, TensorDataset

import lrfinder
from helpers.problems import CPU, regression
from lrfinder.engine.sweep import run_sweep
from lrfinder.errors import UsageError
from lrfinder.records import Stop, SweepSettings
from lrfinder.task.problem import Problem

INPUTS = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
TARGETS = INPUTS.sum(1, keepdim=True)
DATA = TensorDataset(INPUTS, TARGETS)
SETTINGS = SweepSettings(steps=12, repeats=2, min_lr=1e-4, max_lr=1e-1)


def sweep(recorder, loader, step=None, settings=SETTINGS):
    problem = Problem(
        name="p",
        model=lambda: nn.Linear(3, 1),
        train_loader=loader,
        loss_fn=None if step else nn.functional.mse_loss,
        training_step=step,
        optimizer=lambda params, lr: torch.optim.SGD(params, lr=lr),
    )
    return run_sweep(problem, settings, device=CPU, observer=recorder())


def bare_loop(seed: int, batches, rates) -> list[float]:
    """The losses of plain torch: a model seeded by `seed`, on (x, y) `batches` that come after it was made."""
    torch.manual_seed(seed)
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    losses, source = [], iter(batches())
    for rate in (*rates, None):
        x, y = next(source)
        loss = nn.functional.mse_loss(model(x), y)
        losses.append(loss.item())
        if rate is not None:
            optimizer.zero_grad()
            loss.backward()
            optimizer.param_groups[0]["lr"] = rate
            optimizer.step()
    return losses


class Rows(IterableDataset):
    def __iter__(self):
        return iter(zip(INPUTS, TARGETS, strict=True))


class Endless(IterableDataset):
    def __iter__(self):
        return itertools.cycle(zip(INPUTS, TARGETS, strict=True))


def plain(size: int = 8):
    return [(INPUTS[i : i + size], TARGETS[i : i + size]) for i in range(0, 40, size)]


LOADERS = {
    "a list": plain,
    "map-style": lambda: DataLoader(DATA, batch_size=8),
    "iterable": lambda: DataLoader(Rows(), batch_size=8),
    "infinite": lambda: DataLoader(Endless(), batch_size=8),
    "workers": lambda: DataLoader(DATA, batch_size=8, num_workers=2),
    "persistent workers": lambda: DataLoader(DATA, batch_size=8, num_workers=2, persistent_workers=True),
    "a sampler": lambda: DataLoader(DATA, batch_size=8, sampler=range(40)),
    "a batch sampler": lambda: DataLoader(DATA, batch_sampler=BatchSampler(range(40), 8, drop_last=False)),
    "no automatic batches": lambda: DataLoader(plain(), batch_size=None),
}


@pytest.mark.parametrize("make", LOADERS.values(), ids=LOADERS)
def test_the_losses_are_those_of_a_bare_loop_that_begins_the_data_again(recorder, make) -> None:
    loader = make()
    for trace in sweep(recorder, loader):
        expected = bare_loop(trace.seed, lambda: itertools.cycle(plain()), trace.lrs)
        assert [trace.initial_loss, *trace.losses] == pytest.approx(expected, rel=1e-5)
        assert (trace.stop, trace.updates) == (Stop.COMPLETED, 12)
    assert multiprocessing.active_children() == []


def test_shuffled_by_a_generator_of_its_own_in_the_order_that_its_seed_gives(recorder) -> None:
    generator = torch.Generator().manual_seed(11)
    loader = DataLoader(DATA, batch_sampler=BatchSampler(RandomSampler(DATA, generator=generator), 8, drop_last=True))
    before, names = generator.get_state(), list(vars(loader.batch_sampler.sampler))
    first, second = sweep(recorder, loader)
    again = sweep(recorder, loader)
    assert (first, second) == again
    assert first.initial_loss != second.initial_loss
    assert torch.equal(generator.get_state(), before)
    assert list(vars(loader.batch_sampler.sampler)) == names


class Pair(NamedTuple):
    x: torch.Tensor
    y: torch.Tensor


@dataclasses.dataclass
class Example:
    x: torch.Tensor
    y: torch.Tensor
    names: list[str]


class Samples(Dataset):
    """Single samples, made into what `shape` says."""

    def __init__(self, shape) -> None:
        self.shape = shape

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> Any:
        return self.shape(INPUTS[index], TARGETS[index])


def of_encoding(rows) -> Any:
    from transformers import BatchEncoding

    return BatchEncoding({"x": torch.stack([x for x, _ in rows]), "y": torch.stack([y for _, y in rows])})


BATCHES = {
    "dict": ({"shape": lambda x, y: {"x": x, "y": y}}, lambda b: (b["x"], b["y"])),
    "tuple": ({"shape": lambda x, y: (x, y)}, lambda b: (b[0], b[1])),
    "namedtuple": ({"shape": Pair}, lambda b: (b.x, b.y)),
    "nested": ({"shape": lambda x, y: {"in": [x, {"y": (y,)}]}}, lambda b: (b["in"][0], b["in"][1]["y"][0])),
    "dataclass": (
        {"collate": lambda rows: Example(torch.stack([x for x, _ in rows]), torch.stack([y for _, y in rows]), ["a"])},
        lambda b: (b.x, b.y),
    ),
    "BatchEncoding": ({"collate": of_encoding}, lambda b: (b["x"], b["y"])),
    "ragged": (
        {"collate": lambda rows: ([x[: 1 + i % 3] for i, (x, _) in enumerate(rows)], [y for _, y in rows], rows)},
        lambda b: (torch.stack([x for x, _ in b[2]]), torch.stack(b[1])),
    ),
}


@pytest.mark.parametrize(("how", "unpack"), BATCHES.values(), ids=BATCHES)
def test_batches_of_every_shape(recorder, how, unpack) -> None:
    def step(model, batch):
        x, y = unpack(batch)
        return nn.functional.mse_loss(model(x), y)

    shape = how.get("shape", lambda x, y: (x, y))
    loader = DataLoader(Samples(shape), batch_size=8, collate_fn=how.get("collate"))
    (trace, _) = sweep(recorder, loader, step)
    expected = bare_loop(trace.seed, lambda: itertools.cycle(plain()), trace.lrs)
    assert [trace.initial_loss, *trace.losses] == pytest.approx(expected, rel=1e-5)


def test_pinned_memory_warns_no_more_than_torch_itself(recorder) -> None:
    def told(function) -> set[str]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            function()
        return {str(warning.message) for warning in caught}

    pinned = DataLoader(DATA, batch_size=8, pin_memory=True)
    own = told(lambda: list(pinned))
    assert told(lambda: sweep(recorder, pinned)) <= own


class Tape:
    """A loader that keeps its place in itself, deep: only its own state_dict can bring it back."""

    def __init__(self) -> None:
        self.reel = {"position": [3], "passes": 0}

    def __iter__(self):
        while self.reel["position"][0] < 5:
            batch = plain()[self.reel["position"][0]]
            self.reel["position"][0] += 1
            yield batch
        self.reel["position"][0] = 0
        self.reel["passes"] += 1

    def state_dict(self) -> dict[str, Any]:
        return self.reel

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.reel = copy.deepcopy(state)


@pytest.mark.parametrize("kind", ["a loader", "a data set"])
def test_what_keeps_its_place_goes_on_from_there_and_is_put_back(recorder, kind) -> None:
    tape = Tape()

    class Stream(IterableDataset):
        def __iter__(self):
            return iter(tape)

        def state_dict(self):
            return tape.state_dict()

        def load_state_dict(self, state):
            tape.load_state_dict(state)

    loader = tape if kind == "a loader" else DataLoader(Stream(), batch_size=None)
    first, second = sweep(recorder, loader)
    assert tape.reel == {"position": [3], "passes": 0}
    for trace in (first, second):
        expected = bare_loop(trace.seed, lambda: itertools.islice(itertools.cycle(plain()), 3, None), trace.lrs)
        assert trace.losses == pytest.approx(expected[1:], rel=1e-5)


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")  # torchdata's own, of this torch
@pytest.mark.parametrize("workers", [0, 2])
def test_torchdata_s_loader_goes_on_where_it_would_have(recorder, workers) -> None:
    from torchdata.stateful_dataloader import StatefulDataLoader

    loader = StatefulDataLoader(DATA, batch_size=8, num_workers=workers)
    under_way = iter(loader)
    taken = [next(under_way)[0] for _ in range(2)]
    first, second = sweep(recorder, loader)
    assert first.stop is second.stop is Stop.COMPLETED
    rest = [batch[0] for batch in under_way]
    assert torch.equal(torch.cat([*taken, *rest]), INPUTS)
    del under_way

    resumed = StatefulDataLoader(DATA, batch_size=8, num_workers=workers)
    stopped = StatefulDataLoader(DATA, batch_size=8, num_workers=workers)
    next(iter(stopped))
    resumed.load_state_dict(stopped.state_dict())
    sweep(recorder, resumed)
    assert torch.equal(torch.cat([batch[0] for batch in resumed]), INPUTS[8:])


class Streamed(IterableDataset):
    """Forty samples, of which the length tells `length`."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __iter__(self):
        return iter(DATA)


def test_a_length_that_the_loader_exceeds_is_named_and_counts_nothing() -> None:
    def result(length: int) -> lrfinder.SweepResult:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own, of a pass longer than it was said to be
            return lrfinder.sweep(
                lambda: nn.Linear(3, 1),
                train_loader=lambda: DataLoader(Streamed(length), batch_size=4),
                loss_fn=nn.functional.mse_loss,
                steps=30,
                repeats=1,
                run_steps=10,
            )

    right, wrong = result(40), result(8)
    assert (right.batches_per_epoch, right.notes) == (10, ())
    assert (wrong.setup.batches_per_epoch, wrong.batches_per_epoch) == (2, None)
    assert [
        note.startswith("train_loader gives more batches in a pass than its length (2)") for note in wrong.notes
    ] == [True]
    assert {run.plan.batches for run in wrong.runs} == {None}, "no run goes round two batches"
    assert right.losses == wrong.losses
    with pytest.raises(UsageError, match="has a wrong length"):
        lrfinder.recommend(wrong, epochs=3)


def test_the_first_batch_has_a_digest_of_its_numbers(recorder) -> None:
    def digest(loader, seed: int = 0, step=None) -> str | None:
        seen = recorder()
        problem = regression(train_loader=loader, **({} if step is None else {"loss_fn": None, "training_step": step}))
        settings = dataclasses.replace(SETTINGS, repeats=1, seed=seed)
        run_sweep(problem, settings, device=CPU, observer=seen)
        return seen.setups[0].first_batch

    def shuffled(data):
        return lambda: DataLoader(data, batch_size=8, shuffle=True)

    first = digest(shuffled(DATA))
    assert len(first) == 16
    assert digest(shuffled(DATA)) == first
    changed = INPUTS.clone()
    changed += 1e-6
    assert digest(shuffled(TensorDataset(changed, TARGETS))) != first
    assert digest(shuffled(DATA), seed=1) != first
    named = lambda: ({"x": INPUTS, "names": ["a"] * 40}, TARGETS)  # noqa: E731
    in_structure = digest([named()], step=lambda model, batch: (model(batch[0]["x"]) - batch[1]).pow(2).mean())
    assert in_structure == digest([(INPUTS, TARGETS)])
    assert digest([INPUTS.tolist()], step=lambda model, batch: model(torch.tensor(batch)).pow(2).mean()) is None


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_batches_of_nested_tensors(recorder, layout) -> None:
    def padded(batch):
        return torch.nested.to_padded_tensor(batch[0], 0.0)

    def step(model, batch):
        return model(padded(batch) if batch[0].is_nested else batch[0]).square().mean()

    lengths = [(2, 3), (1, 4), (3, 3)]
    nested = [
        (torch.nested.nested_tensor([torch.ones(n, 3) for n in pair], layout=layout), torch.zeros(2))
        for pair in lengths
    ]
    plain = [(padded(batch), batch[1]) for batch in nested]
    found, expected = (
        run_sweep(
            regression(train_loader=batches, loss_fn=None, training_step=step),
            dataclasses.replace(SETTINGS, repeats=1),
            device=CPU,
            observer=recorder(),
        )
        for batches in (nested, plain)
    )
    assert found[0].losses == expected[0].losses
