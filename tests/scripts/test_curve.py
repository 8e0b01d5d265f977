"""The curve of a script is that of a loop written by hand which sets the same rates, bit for bit."""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from lrfinder.engine.runtime.rng import derived_seed
from lrfinder.records import Mode, Stop, SweepSettings

Swept = Callable[..., Any]
RATES = SweepSettings(min_lr=1e-3, max_lr=1.0, steps=40).lrs()


@pytest.fixture(scope="module")
def classifier() -> ModuleType:
    path = Path(__file__).parent / "programs" / "classifier.py"
    spec = importlib.util.spec_from_file_location("classifier", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def by_hand(module: ModuleType, rates: tuple[float, ...], *argv: str, seed: int) -> list[float]:
    """Train the program's network at these rates, and return the losses before each update and after the last."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - as the script's process does
    torch.manual_seed(seed)
    args = module.parse(argv)
    loader = DataLoader(module.data(), batch_size=16, shuffle=True)
    net = module.network()
    optimizer = module.make_optimizer(net, args)
    losses: list[float] = []

    def batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        while True:
            yield from loader

    stream = batches()
    for step in range(len(rates) + 1):
        for group, share in zip(optimizer.param_groups, (1.0, 0.25), strict=False):
            group["lr"] = rates[min(step, len(rates) - 1)] * share
        several = [next(stream) for _ in range(args.accumulate)]
        if args.lbfgs:
            [(x, y)] = several
            first: list[float] = []

            def closure(x: torch.Tensor = x, y: torch.Tensor = y, first: list[float] = first) -> torch.Tensor:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(net(x), y)
                loss.backward()
                first.append(loss.item())
                return loss

            optimizer.step(closure)
            losses.append(first[0])
            continue
        parts = [one_batch(net, x, y, args) for x, y in several]
        losses.append(sum(parts) / len(parts))
        optimizer.step()
        optimizer.zero_grad()
    return losses


def one_batch(net: nn.Module, x: torch.Tensor, y: torch.Tensor, args: Any) -> float:
    """Leave the gradients of one batch behind, and return its loss."""
    if args.attack:
        where = x.clone().requires_grad_(True)
        [gradient] = torch.autograd.grad(nn.functional.cross_entropy(net(where), y), where)
        x = x + 0.3 * gradient.sign()
    loss = nn.functional.cross_entropy(net(x), y)
    loss.backward()
    if args.sam:
        before = [weight.detach().clone() for weight in net.parameters()]
        with torch.no_grad():
            for weight in net.parameters():
                weight.add_(0.5 * weight.grad)
        net.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        with torch.no_grad():
            for weight, old in zip(net.parameters(), before, strict=True):
                weight.copy_(old)
    return loss.item()


@pytest.mark.parametrize(
    "argv",
    [
        (),  # StepLR, two groups at 1 : 1/4
        ("--warmup", "10"),  # the script's own rate begins at 0
        ("--accumulate", "4", "--epochs", "5"),
        ("--accumulate", "4", "--epochs", "5", "--closure"),
        ("--lbfgs",),
        ("--sam", "add_"),
        ("--sam", "data"),  # which leaves no trace in the weights' version
        ("--attack",),
    ],
    ids=" ".join,
)
def test_the_losses_are_those_of_a_loop_by_hand(sweep: Swept, classifier: ModuleType, argv: tuple[str, ...]) -> None:
    done = sweep("classifier.py", *argv).sweep
    [trace] = done.traces
    expected = by_hand(classifier, RATES, *argv, seed=derived_seed(0, 0))
    assert (done.setup.batch_size, done.setup.batches_per_epoch) == ((64, 10) if "--accumulate" in argv else (16, 40))
    assert trace.lrs == RATES[: len(trace.lrs)]
    assert [trace.initial_loss, *trace.losses] == expected[: 1 + len(trace.losses)]
    assert len(trace.losses) == 40 or trace.stop is Stop.DIVERGED
    assert len(trace.losses) > 30


@pytest.mark.parametrize("how", ["compiled", "compiled the old way"])
def test_a_step_that_is_compiled_is_made_at_each_rate(sweep: Swept, how: str) -> None:
    [trace] = sweep("others.py", how).sweep.traces
    torch.manual_seed(derived_seed(0, 0))
    net, _, x = nn.Linear(4, 1), nn.Linear(4, 1), torch.randn(16, 4)
    optimizer = torch.optim.Adam(net.parameters())
    expected = []
    for rate in (*RATES, 0.0):
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        loss = net(x).pow(2).mean()
        expected.append(loss.item())
        loss.backward()
        optimizer.step()
    assert [trace.initial_loss, *trace.losses] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("kind", "epoch"), [("no rate of its own", 40), ("a rate of its own", 40), ("hands its rate on", 40), ("anew", 12)]
)
def test_the_rate_reaches_the_optimizer_that_makes_the_steps(sweep: Swept, kind: str, epoch: int) -> None:
    """It is held by a wrapper, or made anew for the same weights in each epoch."""
    [trace] = sweep("others.py", kind).sweep.traces
    torch.manual_seed(derived_seed(0, 0))
    net, _, x = nn.Linear(4, 1), nn.Linear(4, 1), torch.randn(16, 4)
    expected = []
    for step, rate in enumerate((*RATES, 0.0)):
        if step % epoch == 0:
            optimizer = torch.optim.Adam(net.parameters())
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        loss = (net(x) - 1).pow(2).mean()
        expected.append(loss.item())
        loss.backward()
        optimizer.step()
    assert (trace.stop, len(trace.losses)) == (Stop.COMPLETED, 40)
    assert [trace.initial_loss, *trace.losses] == expected


def test_an_update_that_the_scaler_skips_uses_up_no_rate(sweep: Swept, classifier: ModuleType) -> None:
    argv = ("--scaler", "--init-scale", str(2.0**127), "--times", "16")
    [trace] = sweep("classifier.py", *argv).sweep.traces
    torch.manual_seed(derived_seed(0, 0))
    loader = DataLoader(classifier.data(), batch_size=16, shuffle=True)
    net = classifier.network()
    optimizer = classifier.make_optimizer(net, classifier.parse(argv))
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    expected: list[float] = []
    made = skipped = 0
    for x, y in (batch for _ in range(3) for batch in loader):
        loss = 16 * nn.functional.cross_entropy(net(x), y)
        if len(expected) == made:  # else the loss at these weights is known from the batch that was skipped
            expected.append(loss.item())
        for group, share in zip(optimizer.param_groups, (1.0, 0.25), strict=True):
            group["lr"] = RATES[min(made, 39)] * share
        before = scaler.get_scale()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        fell = scaler.get_scale() < before
        made, skipped = made + (not fell), skipped + fell
    assert 0 < trace.skipped <= skipped  # the loss may have diverged before the last one
    assert [trace.initial_loss, *trace.losses] == expected[: 1 + len(trace.losses)]


def test_a_scaled_loss_is_unscaled(sweep: Swept, classifier: ModuleType) -> None:
    [trace] = sweep("classifier.py", "--scaler").sweep.traces
    expected = by_hand(classifier, RATES, seed=derived_seed(0, 0))
    assert [trace.initial_loss, *trace.losses] == pytest.approx(expected[: 1 + len(trace.losses)], rel=1e-5)


def test_repeats_differ_where_the_script_seeds_itself_and_short_runs_do_not(
    sweep: Swept, classifier: ModuleType
) -> None:
    done = sweep("classifier.py", "--seed", "3", "--workers", "2", repeats=2, mode=Mode.AUTO, run_steps=20)
    first, second = done.sweep.traces
    runs = done.sweep.runs
    expected = by_hand(classifier, RATES, seed=3)  # workers change nothing
    assert [first.initial_loss, *first.losses] == expected[: 1 + len(first.losses)]
    assert second.initial_loss != first.initial_loss
    assert runs
    assert {run.first_loss for run in runs} == {first.initial_loss}
    # Of a pass of 40 batches, for a run of 400 updates.
    assert {(run.plan.batches, run.fresh, run.metric) for run in runs} == {(2, False, "probe")}
    assert done.sweep.setup.optimizer.group_ratios == (1.0, 0.25)
    assert (done.sweep.setup.batch_size, done.sweep.setup.batches_per_epoch) == (16, 40)
