"""Live models and optimizers of every kind, ways in which a sweep of them ends, and what must come back."""

from __future__ import annotations

import itertools
import random
import signal

import numpy as np
import torch
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from helpers.pictures import bits
from lrfinder.engine.runtime.signals import Terminated
from lrfinder.errors import EnvironmentFailure
from lrfinder.records import Stop


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


class Convolution(nn.Module):
    """A convolution with a batch norm of its own, over the features as a picture of 2 x 2."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 1, 3, padding=1), nn.BatchNorm2d(1, momentum=None), nn.ELU(inplace=True)
        )

    def forward(self, x):
        return self.layers(x.view(-1, 1, 2, 2)).flatten(1)


class Parametrized(nn.Module):
    """Weights that are computed from others, one of them from a buffer that each forward pass changes."""

    def __init__(self):
        super().__init__()
        self.first = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
        self.second = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4))

    def forward(self, x):
        return self.second(self.first(x))


class Hooked(nn.Linear):
    """Hooks of each kind, one of which keeps what it sees."""

    def __init__(self):
        super().__init__(4, 4)
        self.seen = []
        self.register_forward_pre_hook(lambda module, args: None)
        self.register_forward_hook(lambda module, args, output: module.seen.append(output.detach().sum().item()))
        self.register_full_backward_hook(lambda module, before, after: None)
        self.weight.register_hook(lambda gradient: gradient * 0.5)


PARTS = [nn.Linear, Oddities, Shared, Norm, Words, Convolution, Parametrized, Hooked]
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
    "in the model": LookupError,
    "in the loader": OSError,
    "out of memory": EnvironmentFailure,
    "MemoryError": EnvironmentFailure,
    "Ctrl-C": Stop.INTERRUPTED,
    "a real Ctrl-C": Stop.INTERRUPTED,
    "SIGTERM": Stop.TERMINATED,
}


class Failing(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise ZeroDivisionError("in backward")


def _raise(error):
    raise error


ENDINGS = {
    "diverged": lambda loss: loss + 1e6,
    "not finite": lambda loss: loss * float("nan"),
    "exception": lambda loss: _raise(ValueError("no good")),
    "in backward": Failing.apply,
    "out of memory": lambda loss: loss + torch.empty(10**15).sum(),
    "MemoryError": lambda loss: _raise(MemoryError()),
    "Ctrl-C": lambda loss: _raise(KeyboardInterrupt()),
    "a real Ctrl-C": lambda loss: signal.raise_signal(signal.SIGINT),
    "SIGTERM": lambda loss: _raise(Terminated()),
}


def step_that_ends(how):
    """Return a training step that draws random numbers, and from its eighth call on ends the sweep."""
    calls = itertools.count()

    def step(model, batch):
        loss = model(batch[0]).tanh().square().mean()  # bounded, so that the exit alone decides
        random.random(), np.random.random(), torch.rand(1)  # noqa: NPY002, S311
        return ENDINGS[how](loss) if how in ENDINGS and next(calls) >= 7 else loss

    return step


def ends_in(how, model, loader):
    """Have the model or the loader fail, where the exit is there."""
    calls = itertools.count()

    def fail(error):
        if next(calls) % 8 == 7:  # in a second sweep, too
            raise error

    if how == "in the model":
        model[0].register_forward_pre_hook(lambda module, args: fail(LookupError("no good")))
    if how == "in the loader":
        collate = loader.collate_fn
        loader.collate_fn = lambda samples: fail(OSError(5, "no good")) or collate(samples)


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
