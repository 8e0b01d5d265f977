"""Everything of the user's comes back bit for bit, on every way out."""

from __future__ import annotations

import functools
import mmap
import random
import re
import warnings
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset

from helpers.pictures import bits, picture
from helpers.problems import CPU
from lrfinder.engine.sweep import run_sweep
from lrfinder.errors import ModelFileError
from lrfinder.records import Metric, SweepSettings
from lrfinder.task.problem import Problem


def test_each_repeat_of_live_objects_starts_from_the_same_weights(recorder):
    model, x = nn.Linear(4, 4), torch.randn(8, 4)
    problem = Problem(
        name="p",
        model=model,
        optimizer=torch.optim.Adam(model.parameters(), lr=1.0),
        train_loader=[x],
        training_step=lambda model, batch: model(batch).square().mean(),
    )
    first, second = run_sweep(problem, SweepSettings(steps=9, repeats=2), device=CPU, observer=recorder())
    assert first.losses == second.losses
    assert first.initial_loss == second.initial_loss != first.losses[-1]


def test_a_live_model_with_a_callable_optimizer_and_loader(recorder):
    model = nn.Linear(2, 1)
    before = picture(model, set())
    problem = Problem(
        name="p",
        model=model,
        optimizer=lambda params, lr: torch.optim.SGD(params, lr=lr, momentum=0.9),
        train_loader=lambda: iter([torch.ones(3, 2)]),
        training_step=lambda model, batch: model(batch).mean(),
    )
    run_sweep(problem, SweepSettings(steps=5, repeats=2), device=CPU, observer=recorder())
    assert picture(model, set()) == before


def test_a_module_behind_the_training_step_is_kept_too(recorder):
    class Teacher(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(2)

        def distil(self, model, batch):
            return (model(batch) - self.norm(batch)).square().mean()

    teacher = Teacher()
    before = picture(teacher, set())
    problem = Problem(name="p", model=nn.Linear(2, 2), train_loader=[torch.randn(4, 2)], training_step=teacher.distil)
    run_sweep(problem, SweepSettings(steps=5, repeats=1), device=CPU, observer=recorder())
    assert picture(teacher, set()) == before


TEACHER = nn.BatchNorm1d(2)


def distance(model, batch):
    return (model(batch) - TEACHER(batch).detach()).square().mean()


def doubled(function):
    @functools.wraps(function)
    def called(*args):
        return 2 * function(*args)

    return called


STEPS = {
    "directly": distance,
    "in a comprehension": lambda model, batch: sum([(model(x) - TEACHER(x).detach()).square().mean() for x in [batch]]),
    "decorated by torch": torch.autocast("cpu", enabled=False)(distance),
    "decorated twice": doubled(doubled(distance)),
    "decorated and with arguments": functools.partial(doubled(distance)),
}


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_a_teacher_among_the_globals_is_kept_however_the_step_refers_to_it(recorder, step):
    before = picture(TEACHER, set())
    problem = Problem(name="p", model=nn.Linear(2, 2), train_loader=[torch.randn(4, 2)], training_step=step)
    run_sweep(problem, SweepSettings(steps=5, repeats=1), device=CPU, observer=recorder())
    assert picture(TEACHER, set()) == before


def count(seen, batch):
    seen["calls"] += 1


def append(seen, batch):
    seen[f"call {len(seen)}"] = len(batch)


def tally(seen, batch):
    seen += np.bincount((batch[:, 0] > 0).numpy(), minlength=2)


class Memory:
    """A hidden state as people write it."""

    def __init__(self):
        self.last, self.calls = None, []

    def __repr__(self):
        return f"{self.last} {self.calls}"


@dataclass
class Tracked:
    last: torch.Tensor | None = None
    calls: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Slotted:
    last: torch.Tensor | None = None
    calls: list[int] = field(default_factory=list)
    first: torch.Tensor = field(init=False, repr=False)  # isn't there at first


def remember_in_slots(seen, batch):
    seen.first = seen.last
    remember(seen, batch)


def remember(seen, batch):
    seen.last = batch.sum()
    seen.calls.append(len(batch))


@pytest.mark.parametrize(
    ("held", "change"),
    [
        pytest.param(Memory, remember, id="a class of their own"),
        pytest.param(Tracked, remember, id="dataclass"),
        pytest.param(Slotted, remember_in_slots, id="slots"),
        pytest.param(lambda: SimpleNamespace(last=None, calls=[]), remember, id="SimpleNamespace"),
        pytest.param(lambda: Counter(start=5), count, id="Counter"),
        pytest.param(lambda: OrderedDict(b=1, a=2), append, id="OrderedDict"),
        pytest.param(lambda: np.zeros(2), tally, id="NumPy"),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_what_the_model_keeps_in_its_attributes_comes_back_for_each_repeat(recorder, held, change, nested):
    model = nn.Linear(2, 1)
    model.seen, expected = held(), held()
    model.more = {"deep": [model.seen if nested else held()]}
    seen = []

    def step(model, batch):
        seen.append(repr(model.seen))
        change(model.seen, batch)
        return model(batch).square().mean()

    problem = Problem(name="p", model=model, train_loader=[torch.randn(4, 2)], training_step=step)
    run_sweep(problem, SweepSettings(steps=4, repeats=2), device=CPU, observer=recorder())
    assert seen[0] == seen[len(seen) // 2] == repr(expected) != seen[len(seen) // 2 - 1]
    assert repr(model.seen) == repr(expected)
    assert not hasattr(model.seen, "first")


class Samples(Dataset):
    def __init__(self):
        self.read = []


def test_classes_that_say_anything_of_themselves_are_no_obstacle(recorder):
    model = nn.Linear(2, 1)
    model.odd = type("Odd", (), {"__module__": 3})()
    model.slotted = type("Slotted", (), {"__slots__": ("last",)})()
    problem = Problem(name="p", model=model, train_loader=[(torch.randn(4, 2), torch.randn(4, 1))])
    trace, *_ = run_sweep(problem, SweepSettings(steps=4, repeats=1), device=CPU, observer=recorder())
    assert trace.updates == 4


def test_a_data_set_that_the_model_holds_is_left_alone(recorder):
    model = nn.Linear(2, 1)
    model.data = Samples()

    def step(model, batch):
        model.data.read.append(len(batch))
        return model(batch).square().mean()

    problem = Problem(name="p", model=model, train_loader=[torch.randn(4, 2)], training_step=step)
    run_sweep(problem, SweepSettings(steps=4, repeats=1), device=CPU, observer=recorder())
    assert model.data.read == [4] * len(model.data.read) != []


def copied_bytes(address):
    """Return the bytes of the mapping at `address` that this process has copied, since it wrote to them."""
    rows, inside = Path("/proc/self/smaps").read_text().splitlines(), False
    for row in rows:
        if begin := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", row):
            inside = int(begin[1], 16) <= address < int(begin[2], 16)
        elif inside and row.startswith("Anonymous:"):
            return 1024 * int(row.split()[1])
    raise AssertionError("no such mapping")


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="the system doesn't tell which pages were written to")
@pytest.mark.parametrize("kind", ["frozen weight", "buffer", "buffer of a model that is made"])
def test_a_file_that_is_mapped_into_the_model_is_only_read(recorder, tmp_path, kind):
    values = np.full((512, 4), np.nan, dtype=np.float32)  # NaN isn't equal to itself
    values[:8] = np.random.default_rng(0).normal(size=(8, 4))
    (tmp_path / "table").write_bytes(values.tobytes())
    with (tmp_path / "table").open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)  # an ACCESS_READ one would end the process here
    table = torch.frombuffer(mapped, dtype=torch.float32).view(512, 4)

    class Tabled(nn.Module):
        def __init__(self):
            super().__init__()
            self.last = nn.Linear(4, 1)
            if kind == "frozen weight":
                self.table = nn.Parameter(table, requires_grad=False)
            else:
                self.register_buffer("table", table)

        def forward(self, index):
            return self.last(self.table[index])

    problem = Problem(
        name="p",
        model=Tabled if kind.endswith("made") else Tabled(),
        train_loader=[torch.arange(8)],
        training_step=lambda model, batch: model(batch).square().mean(),
        optimizer=lambda params, lr: torch.optim.SGD([p for p in params if p.requires_grad], lr=lr),
    )
    (first, second) = run_sweep(
        problem, SweepSettings(steps=3, repeats=2, metric=Metric.PROBE), device=CPU, observer=recorder()
    )
    assert len(first.losses) == len(second.losses) == 3
    assert copied_bytes(table.data_ptr()) == 0


@pytest.mark.parametrize(
    "generator",
    [
        pytest.param(lambda: torch.Generator().manual_seed(5), id="torch"),
        pytest.param(lambda: np.random.default_rng(5), id="NumPy"),
        pytest.param(lambda: np.random.RandomState(5), id="NumPy's old"),
        pytest.param(lambda: random.Random(5), id="Python"),  # noqa: S311
    ],
)
@pytest.mark.parametrize("made_by_a_function", [False, True])
def test_generators_of_loader_sampler_and_data_set_come_back(recorder, generator, made_by_a_function):
    class Noisy(torch.utils.data.Dataset):
        def __init__(self):
            self.generator = generator()
            self.reads = 0

        def __len__(self):
            return 8

        def __getitem__(self, index):
            self.reads += 1
            return torch.full((2,), float(self.draw()))

        def draw(self):
            if isinstance(self.generator, torch.Generator):
                return torch.rand((), generator=self.generator)
            return self.generator.random() if hasattr(self.generator, "random") else self.generator.random_sample()

    dataset = Noisy()
    loader = DataLoader(dataset, batch_size=4, shuffle=True, generator=torch.Generator().manual_seed(1))
    problem = Problem(
        name="p",
        model=lambda: nn.Linear(2, 1),
        train_loader=(lambda: loader) if made_by_a_function else loader,
        training_step=lambda model, batch: model(batch).square().mean(),
    )
    first, second = run_sweep(problem, SweepSettings(steps=6, repeats=2), device=CPU, observer=recorder())
    assert first.losses != second.losses
    assert dataset.reads == 0
    assert dataset.draw() == Noisy().draw()
    assert torch.equal(loader.generator.get_state(), torch.Generator().manual_seed(1).get_state())


class Jitter:
    """A transform with a generator of its own."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(7)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.rand((), generator=self.generator)


class Jittered(Dataset):
    def __init__(self) -> None:
        self.transform = Jitter()

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.transform(torch.ones(2))


@pytest.mark.parametrize(
    "wrapped",
    [
        pytest.param(lambda data: data, id="a transform"),
        pytest.param(lambda data: Subset(data, range(6)), id="a part"),
        pytest.param(lambda data: ConcatDataset([data, data]), id="joined"),
        pytest.param(lambda data: ConcatDataset([Subset(data, range(4))]), id="joined parts"),
    ],
)
def test_generators_inside_data_sets_and_their_transforms_come_back_and_differ_between_repeats(recorder, wrapped):
    data = Jittered()
    problem = Problem(
        name="p",
        model=nn.Linear(2, 1),
        train_loader=DataLoader(wrapped(data), batch_size=2),
        training_step=lambda model, batch: model(batch).square().mean(),
    )
    first, second = run_sweep(problem, SweepSettings(steps=6, repeats=2), device=CPU, observer=recorder())
    assert first.initial_loss != second.initial_loss  # the same weights, other draws
    assert torch.equal(data.transform.generator.get_state(), torch.Generator().manual_seed(7).get_state())


class Trainer:
    """A class of the user's own, which is no module."""

    def __init__(self, average: nn.Module) -> None:
        self.average = average

    def step(self, model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
        return averaging(self.average, model, batch)

    __call__ = step


def averaging(average: nn.Module, model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    average.update_parameters(model)
    return model(batch).square().mean()


average_of_the_module = nn.Module()  # set by the test


def knowing_a_global(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    return averaging(average_of_the_module, model, batch)


@pytest.mark.parametrize(
    "step_with",
    [
        pytest.param(lambda average: lambda model, batch: averaging(average, model, batch), id="a closure"),
        pytest.param(lambda average: functools.partial(averaging, average), id="an argument"),
        pytest.param(lambda average: functools.partial(Trainer(average).step), id="a method in a partial"),
        pytest.param(lambda average: lambda model, batch, it=average: averaging(it, model, batch), id="a default"),
        pytest.param(lambda average: Trainer(average).step, id="the owner of a method"),
        pytest.param(Trainer, id="an object that is called"),
        pytest.param(lambda _: knowing_a_global, id="a global"),
    ],
)
@pytest.mark.parametrize("fails", [False, True])
def test_an_average_of_the_weights_that_the_training_step_updates_comes_back(
    recorder, monkeypatch, step_with, fails: bool
):
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = AveragedModel(model, use_buffers=True)
    monkeypatch.setitem(globals(), "average_of_the_module", average)
    average.update_parameters(model)
    before = {name: value.clone() for name, value in average.state_dict().items()}

    def batches():
        yield from [torch.randn(4, 2)] * 3
        if fails:
            raise ValueError("a fault")

    problem = Problem(name="p", model=model, train_loader=batches, training_step=step_with(average))
    settings = SweepSettings(steps=5, repeats=2, min_lr=0.01, max_lr=1.0)
    if fails:
        with pytest.raises(ValueError, match="a fault"):
            run_sweep(problem, settings, device=CPU, observer=recorder())
    else:
        run_sweep(problem, settings, device=CPU, observer=recorder())
    assert all(torch.equal(value, before[name]) for name, value in average.state_dict().items())


def test_a_live_model_that_is_moved_comes_back_to_its_own_memory(recorder):
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.randn(3, 4)).mean().backward()
    optimizer.step()
    before = picture((model, optimizer), set())[1]

    def step(model, batch):  # new memory under the same parameters, as moving to another device gives
        model.double()
        return model(batch.double()).square().mean()

    problem = Problem(
        name="p",
        model=model,
        optimizer=lambda params, lr: torch.optim.SGD(params, lr=lr),
        train_loader=[torch.randn(3, 4)],
        training_step=step,
    )
    first, second = run_sweep(problem, SweepSettings(steps=5, repeats=2), device=CPU, observer=recorder())
    assert first.losses == second.losses
    assert picture((model, optimizer), set())[1] == before


def test_parameters_that_the_user_s_code_freezes_and_sparse_buffers_come_back(recorder):
    class Freezing(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 2)
            self.second.weight.requires_grad_(False)
            self.register_buffer("adjacency", torch.eye(2).to_sparse())

        def forward(self, x):
            self.first.weight.requires_grad_(False)
            self.second.weight.requires_grad_(True)
            self.adjacency.mul_(2)
            return self.second(self.first(x)) + self.adjacency.sum()

    model = Freezing()
    before = picture(model, set())
    problem = Problem(
        name="p",
        model=model,
        train_loader=[torch.randn(3, 2)],
        training_step=lambda model, batch: model(batch).tanh().square().mean(),
    )
    run_sweep(problem, SweepSettings(steps=5, repeats=2), device=CPU, observer=recorder())
    assert picture(model, set()) == before


def test_lazy_layers_are_refused_since_they_can_not_be_made_lazy_again(recorder):
    model = nn.Sequential(nn.Linear(2, 2), nn.LazyBatchNorm1d(affine=False))
    problem = Problem(name="p", model=model, train_loader=[torch.ones(3, 2)])
    with pytest.raises(ModelFileError, match="lazy"):
        run_sweep(problem, SweepSettings(), device=CPU, observer=recorder())


@pytest.mark.parametrize("frozen", [False, True])
def test_a_scripted_model_comes_back(recorder, frozen):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch.jit.script: none of torch 2.6, another one of 2.14 than of 2.13
        model = torch.jit.script(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).train(frozen))
    getattr(model, "1").eval()
    modes = [module.training for module in model.modules()]
    before = {name: bits(value) for name, value in model.state_dict().items()}
    problem = Problem(
        name="p",
        model=model,
        train_loader=[torch.randn(4, 2)],
        training_step=lambda model, batch: model(batch).square().mean() + model(batch).mean(),
    )
    (trace,) = run_sweep(problem, SweepSettings(steps=5, repeats=1), device=CPU, observer=recorder())
    assert len(trace.losses) == 5
    assert {name: bits(value) for name, value in model.state_dict().items()} == before
    assert [module.training for module in model.modules()] == modes
    assert all(p.grad is None for p in model.parameters())


KEPT = {
    "torch": (lambda: torch.Generator().manual_seed(5), lambda own: torch.rand((), generator=own).item()),
    "NumPy": (lambda: np.random.default_rng(5), lambda own: own.random()),
    "NumPy's old": (lambda: np.random.RandomState(5), lambda own: own.random_sample()),
    "Python": (lambda: random.Random(5), lambda own: own.random()),  # noqa: S311
}


@pytest.mark.parametrize(("make", "draw"), KEPT.values(), ids=KEPT)
def test_a_generator_that_the_model_keeps_comes_back_for_each_repeat(recorder, make, draw):
    model = nn.Linear(2, 1)
    model.noise = {"deep": [make()]}
    problem = Problem(
        name="p",
        model=model,
        train_loader=[torch.ones(4, 2)],
        training_step=lambda model, batch: (model(batch) + draw(model.noise["deep"][0])).square().mean(),
    )
    first, second = run_sweep(problem, SweepSettings(steps=5, repeats=2), device=CPU, observer=recorder())
    assert first.losses == second.losses
    assert draw(model.noise["deep"][0]) == draw(make())


@pytest.mark.parametrize("place", [0, 1])
def test_a_scripted_part_of_a_model_comes_back_and_so_do_the_parts_around_it(recorder, place):
    parts = [nn.BatchNorm1d(2), nn.BatchNorm1d(2)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch.jit.script: none of torch 2.6, another one of 2.14 than of 2.13
        parts[place] = torch.jit.script(parts[place])
    model, stray = nn.Sequential(*parts), [torch.zeros(2), {"seen": torch.zeros(2)}]
    model.stray = stray
    around = [parts[1 - place], stray]
    before = picture(around, set()), [bits(value) for value in model.state_dict().values()]

    def step(model, batch):
        stray[0] += 1
        stray[1]["seen"] += 1
        return model(batch).square().mean()

    problem = Problem(name="p", model=model, train_loader=[torch.randn(4, 2)], training_step=step)
    first, second = run_sweep(problem, SweepSettings(steps=5, repeats=2), device=CPU, observer=recorder())
    assert first.losses == second.losses
    assert (picture(around, set()), [bits(value) for value in model.state_dict().values()]) == before


def test_gradients_come_back_as_the_tensors_that_they_were_and_hooks_that_were_added_go(recorder):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    model(torch.ones(3, 2)).sum().backward()
    model[1].bias.grad = None
    gradients = [(p.grad, None if p.grad is None else p.grad.clone()) for p in model.parameters()]
    calls, seen = [], []

    def step(model, batch):
        seen.append([p.grad is None for p in model.parameters()])
        model[0].weight.register_hook(lambda gradient: calls.append(1))
        return model(batch).square().mean()

    problem = Problem(
        name="p",
        model=model,
        train_loader=[torch.ones(3, 2)],
        training_step=step,
        optimizer=lambda params, lr: torch.optim.SGD(params, lr=lr),
    )
    first, second = run_sweep(problem, SweepSettings(steps=3, repeats=2), device=CPU, observer=recorder())
    assert first.losses == second.losses
    assert seen[0] == seen[4] == [True] * 4, "a repeat begins without gradients"
    assert len(calls) == 2 * (1 + 2 + 3), "and without the hooks of the one before"
    for parameter, (gradient, values) in zip(model.parameters(), gradients, strict=True):
        assert parameter.grad is gradient
        assert gradient is None or torch.equal(gradient, values)
    model(torch.ones(3, 2)).sum().backward()
    assert len(calls) == 12


def test_a_buffer_that_something_with_a_gradient_was_written_to_is_a_leaf_again(recorder):
    class Keeping(nn.Linear):
        def __init__(self):
            super().__init__(2, 1)
            self.register_buffer("seen", torch.zeros(()))

        def forward(self, x):
            self.seen.copy_(self.weight.sum())
            return super().forward(x)

    model = Keeping()
    before = picture(model, set())
    problem = Problem(
        name="p", model=model, train_loader=[torch.ones(3, 2)], training_step=lambda model, x: model(x).square().mean()
    )
    run_sweep(problem, SweepSettings(steps=3, repeats=2), device=CPU, observer=recorder())
    assert model.seen.is_leaf
    assert picture(model, set()) == before
