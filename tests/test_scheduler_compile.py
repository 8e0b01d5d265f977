"""The scheduler under torch.compile: a tensor rate is filled in place, so a compiled update reads it and is kept."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from lrfinder.config import OptimizerConfig, ScheduleConfig
from lrfinder.schedules import Cosine, Linear, OneCycle, Schedule

STEPS = 12
# Traced as for any back end, but run by PyTorch itself: no C++ compiler is needed.
BACKEND = "aot_eager"


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about its own internals
        yield
    torch._dynamo.reset()


def graphs() -> int:
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


def train(schedule: Schedule, kind: str, *, ours: bool) -> tuple[torch.Tensor, list[int]]:
    """Train a small net in double precision, with our scheduler or torch's LambdaLR, everything compiled.

    Returns its weights, and how many graphs there were after each update.
    """
    torch.manual_seed(0)
    model = nn.Linear(3, 1, dtype=torch.float64)
    lr = torch.tensor(9.0 if ours else 0.05, dtype=torch.float64)
    made = getattr(torch.optim, kind)(model.parameters(), lr=lr)
    config = ScheduleConfig(optimizer=OptimizerConfig(name=kind, lr=0.05), schedule=schedule)
    scheduler = config.scheduler(made) if ours else torch.optim.lr_scheduler.LambdaLR(made, schedule.factor)
    forward = torch.compile(model, backend=BACKEND)
    step = torch.compile(made.step, backend=BACKEND)
    x = torch.randn(16, 3, dtype=torch.float64)
    seen = []
    for t in range(schedule.steps):
        made.zero_grad()
        (forward(x) - x.sum(1, keepdim=True)).square().mean().backward()
        assert made.param_groups[0]["lr"] is lr
        assert lr.item() == config.rate(t)
        step()
        scheduler.step()
        seen.append(graphs())
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()]), seen


@pytest.mark.parametrize("kind", ["SGD", "AdamW"])
@pytest.mark.parametrize("schedule", [Linear(steps=STEPS, warmup=3), Cosine(steps=STEPS)], ids=lambda it: it.name)
def test_the_same_weights_and_no_graph_for_a_new_rate(schedule: Schedule, kind: str) -> None:
    theirs, _ = train(schedule, kind, ours=False)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    weights, seen = train(schedule, kind, ours=True)
    assert weights.tolist() == pytest.approx(theirs.tolist(), rel=1e-12)
    assert seen[0] > 0
    assert seen[-1] == seen[1]  # the second update may still add one: its optimizer has a state


def test_a_compiled_model_with_an_eager_optimizer_and_a_rate_that_is_a_number() -> None:
    schedule = OneCycle(steps=STEPS)
    config = ScheduleConfig(optimizer=OptimizerConfig(name="SGD", lr=0.05), schedule=schedule)
    weight = nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = torch.optim.SGD([weight], lr=9.0)
    scheduler = config.scheduler(optimizer)
    loss = torch.compile(lambda it: (it**2 / 2).sum(), backend=BACKEND)
    expected = 1.0
    for t in range(STEPS):
        optimizer.zero_grad()
        loss(weight).backward()
        optimizer.step()
        scheduler.step()
        expected *= 1 - config.rate(t)  # the gradient of x^2 / 2 is x
    assert weight.item() == pytest.approx(expected, rel=1e-12)
