"""Everything of the user's comes back bit for bit, on every way out."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lrfinder.engine.signals import Terminated
from lrfinder.engine.sweep import run_sweep
from lrfinder.errors import EnvironmentFailure, ModelFileError
from lrfinder.records import Stop, SweepSettings
from lrfinder.task.problem import Problem
from pictures import bits, picture

CPU = torch.device("cpu")


class Oddities(nn.Module):
    """Parameters and buffers in every shape of memory, and attributes that aren't state for torch."""

    def __init__(self):
        super().__init__()
        self.scalar = nn.Parameter(torch.tensor(0.5))
        self.empty = nn.Parameter(torch.empty(0, 3))
        self.transposed = nn.Parameter(torch.randn(3, 4).t())
        self.every_other = nn.Parameter(torch.randn(8)[::2])
        self.frozen = nn.Parameter(torch.randn(4), requires_grad=False)
        self.register_buffer("count", torch.tensor(3))
        self.register_buffer("expanded", torch.ones(1, 4).expand(3, 4))
        self.register_buffer("hidden", torch.zeros(4), persistent=False)
        self.register_buffer("not_a_number", torch.tensor([float("nan"), -0.0]))
        self.register_buffer("nothing", None)
        self.plain = torch.zeros(2)
        self.calls = 0
        self.history = ["before"]

    def forward(self, x):
        self.calls += 1
        self.history.append(self.calls)
        self.plain += 1
        self.count += 1
        self.not_a_number.fill_(1.0)
        self.hidden = 0.5 * self.hidden + x.detach().mean(0)
        self.scratch = x
        scale = torch.tanh(self.scalar + self.every_other.sum() + self.transposed.square().sum())
        return x * scale + self.hidden + self.empty.sum() + 0 * self.frozen


class Shared(nn.Module):
    """One layer twice, and one weight in two layers."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.again = self.first
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.in_a_list = [nn.Linear(4, 4)]  # torch doesn't see it; the forward pass trains nothing of it
        self.in_a_list[0].register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        self.in_a_list[0].seen += 1
        return self.second(self.again(self.first(x)))


class Norm(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.3))


class Words(nn.Module):
    """Gradients that are sparse, which only some optimizers take: it comes with plain SGD."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(5, 4, sparse=True)

    def forward(self, x):
        return x + self.table(torch.randint(0, 5, (len(x),)))


PARTS = [nn.Linear, Oddities, Shared, Norm, Words]
OPTIMIZERS = {
    "SGD": lambda params: torch.optim.SGD(params, lr=0.1),
    "momentum": lambda params: torch.optim.SGD(params, lr=torch.tensor(0.1), momentum=0.9, foreach=False),
    "Adam": lambda params: torch.optim.Adam(params, lr=0.1, amsgrad=True),
    "AdamW": lambda params: torch.optim.AdamW(params, lr=torch.tensor(0.1), foreach=False),
    "Adagrad": lambda params: torch.optim.Adagrad(params, lr=0.1),
    "RMSprop": lambda params: torch.optim.RMSprop(params, lr=0.1, centered=True, momentum=0.5),
    "Adafactor": lambda params: torch.optim.Adafactor(params, lr=0.1),
}
EXITS = {
    "finished": Stop.COMPLETED,
    "diverged": Stop.DIVERGED,
    "not finite": Stop.NON_FINITE,
    "exception": ValueError,
    "in backward": ZeroDivisionError,
    "out of memory": EnvironmentFailure,
    "Ctrl-C": Stop.INTERRUPTED,
    "SIGTERM": Stop.TERMINATED,
}


class Failing(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise ZeroDivisionError("in backward")


def step_that_ends(how):
    calls = itertools.count()

    def step(model, batch):
        loss = model(batch[0]).tanh().square().mean()  # bounded, so that the exit alone decides
        random.random(), np.random.random(), torch.rand(1)  # noqa: NPY002, S311
        if next(calls) < 7:
            return loss
        if how == "diverged":
            return loss + 1e6
        if how == "not finite":
            return loss * float("nan")
        if how == "exception":
            raise ValueError("no good")
        if how == "in backward":
            return Failing.apply(loss)
        if how == "out of memory":
            return loss + torch.empty(10**15).sum()
        if how == "Ctrl-C":
            raise KeyboardInterrupt
        if how == "SIGTERM":
            raise Terminated
        return loss

    return step


def generators():
    return (random.getstate(), repr(np.random.get_state()), bits(torch.get_rng_state()))  # noqa: NPY002


@st.composite
def live_problems(draw):
    """A model of a few parts with its optimizer, perhaps trained a little before, in some modes."""
    torch.manual_seed(draw(st.integers(0, 100)))
    kinds = draw(st.lists(st.sampled_from(PARTS), min_size=1, max_size=3))
    model = nn.Sequential(nn.Linear(4, 4), *(kind(4, 4) if kind is nn.Linear else kind() for kind in kinds))
    name = "SGD" if Words in kinds else draw(st.sampled_from(sorted(OPTIMIZERS)))
    parameters = [p for p in model.parameters() if p.requires_grad and p.numel()]
    optimizer = OPTIMIZERS[name]([{"params": parameters[:1]}, {"params": parameters[1:]}])
    for _ in range(draw(st.integers(0, 2))):
        model(torch.randn(6, 4)).tanh().square().mean().backward()
        optimizer.step()
    if not draw(st.booleans()):
        model.zero_grad()
    for module in model.modules():
        module.training = draw(st.booleans())
    dataset = TensorDataset(torch.randn(20, 4))
    loader = DataLoader(dataset, batch_size=5, shuffle=True, generator=torch.Generator().manual_seed(3))
    return model, optimizer, loader


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(live=live_problems(), how=st.sampled_from(sorted(EXITS)), sweeps=st.integers(1, 2))
def test_every_live_object_comes_back_bit_for_bit(recorder, live, how, sweeps):
    model, optimizer, loader = live
    parts = (model, optimizer, loader.generator, loader.sampler.generator, vars(loader), vars(loader.sampler))
    before = (picture(parts, set())[1], generators())
    for _ in range(sweeps):
        observer = recorder()
        problem = Problem(
            name="p", model=model, optimizer=optimizer, train_loader=loader, training_step=step_that_ends(how)
        )
        sweep = SweepSettings(steps=12, repeats=2, min_lr=1e-6, max_lr=1e-3)
        if isinstance(EXITS[how], Stop):
            traces = run_sweep(problem, sweep, device=CPU, observer=observer)
            assert traces[-1].stop is EXITS[how] or (how == "diverged" and traces[0].stop is Stop.DIVERGED)
        else:
            with pytest.raises(EXITS[how]):
                run_sweep(problem, sweep, device=CPU, observer=observer)
            assert observer.traces[-1].stop is Stop.FAILED
        assert observer.traces[0].updates >= 6  # something did change in between
        assert (picture(parts, set())[1], generators()) == before


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


def test_a_scripted_model_comes_back(recorder):
    with pytest.warns(DeprecationWarning, match="torch.jit.script"):
        model = torch.jit.script(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).eval())
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
    assert not model.training
    assert all(p.grad is None for p in model.parameters())
