"""`lrfinder.attach`: a sweep in loops of one's own, compared with loops that set the rates by hand."""

from __future__ import annotations

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, TensorDataset

import lrfinder
from lrfinder.records import Stop

INPUTS = torch.randn(48, 4, generator=torch.Generator().manual_seed(1))
TARGETS = torch.tanh(INPUTS @ torch.tensor([[1.0], [-2.0], [0.5], [0.0]]))
SHORT = {"steps": 20, "max_lr": 1.0, "min_lr": 1e-3}


def made(seed: int = 0):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 1))
    return net, torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)


def loss_of(net, inputs=INPUTS, targets=TARGETS):
    return nn.functional.mse_loss(net(inputs), targets)


def plain():
    """A network without anything random, so that a loop by hand can be the same to the last bit."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    groups = [{"params": net[0].parameters(), "lr": 0.01}, {"params": net[2].parameters()}]
    return net, torch.optim.AdamW(groups, lr=0.02)


def by_hand(rates, batches, *, clip=None):
    """Return the losses of a loop that sets `rates`, the second group's; a loss follows each, on the next batches."""
    net, optimizer = plain()
    losses = []
    for update in range(len(rates) + 1):
        optimizer.zero_grad()
        parts = [loss_of(net, *batch) for batch in batches]
        losses.append(sum(part.item() for part in parts) / len(parts))
        (sum(parts) / len(parts)).backward()
        if update < len(rates):
            if clip:
                nn.utils.clip_grad_norm_(net.parameters(), clip)
            optimizer.param_groups[0]["lr"], optimizer.param_groups[1]["lr"] = rates[update] / 2, rates[update]
            optimizer.step()
    return losses


HALVES = [(INPUTS[:24], TARGETS[:24]), (INPUTS[24:], TARGETS[24:])]


@pytest.mark.parametrize(("batches", "clip"), [([(INPUTS, TARGETS)], None), (HALVES, 0.1)])
def test_the_curve_is_that_of_a_loop_that_sets_the_rates_by_hand(batches, clip) -> None:
    net, optimizer = plain()
    with lrfinder.attach(optimizer, net, repeats=2, **SHORT) as finder:
        while not finder.done:
            optimizer.zero_grad()
            parts = []
            for batch in batches:
                part = loss_of(net, *batch)
                finder.loss(part)
                parts.append(part)
            (sum(parts) / len(parts)).backward()
            if clip:
                nn.utils.clip_grad_norm_(net.parameters(), clip)
            optimizer.step()
    result = finder.result
    assert result.status is Stop.COMPLETED
    assert result.lrs == (finder.settings.lrs(),) * 2
    first, *rest = by_hand(finder.settings.lrs(), batches, clip=clip)
    assert [trace.initial_loss for trace in result.traces] == [first, first]
    assert result.losses == (tuple(rest), tuple(rest))
    assert result.updates == 2 * (20 + 1)
    assert result.setup.optimizer.group_ratios == (0.5, 1.0)


def test_it_is_the_sweep_of_the_same_objects() -> None:
    net, optimizer = plain()
    held_out = INPUTS + 0.1, TARGETS
    options = {"repeats": 1, "max_lr": 3.0, "run_steps": 10}
    with lrfinder.attach(optimizer, net, evaluate=lambda: loss_of(net, *held_out), **options) as finder:
        while not finder.done:
            loss = loss_of(net)
            finder.loss(loss)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    loader, val_loader = [(INPUTS, TARGETS)], [held_out]
    step = nn.functional.mse_loss
    swept = lrfinder.sweep(
        net, train_loader=loader, val_loader=val_loader, loss_fn=step, optimizer=optimizer, **options
    )
    assert finder.result.losses == swept.losses
    assert [run.plan.lr for run in finder.result.runs] == [run.plan.lr for run in swept.runs]
    assert [run.loss for run in finder.result.runs] == [run.loss for run in swept.runs]
    assert finder.result.runs
    here, there = (lrfinder.recommend(result, steps=1000) for result in (finder.result, swept))
    assert (here.lr, here.status) == (there.lr, there.status)


def state(*things) -> str:
    """Everything that a training depends on, as text that differs if a bit does."""
    torch.set_printoptions(precision=17, threshold=10**9)
    try:
        parts = [thing.state_dict() for thing in things]
        return repr((parts, random.getstate(), np.random.get_state(), torch.get_rng_state()))  # noqa: NPY002
    finally:
        torch.set_printoptions(profile="default")


class Everything:
    """A training with buffers, dropout, a scheduler, an average of the weights, a scaler and a loader that shuffles."""

    def __init__(self) -> None:
        self.net, self.optimizer = made()
        self.scheduler = CosineAnnealingLR(self.optimizer, 50)
        self.average = AveragedModel(self.net, use_buffers=True)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
        self.generator = torch.Generator().manual_seed(5)
        data = TensorDataset(INPUTS, TARGETS)
        self.loader = DataLoader(data, batch_size=16, shuffle=True, generator=self.generator)
        self.rates: list[float] = []
        self.train(5)

    def train(self, updates: int, finder=None) -> None:
        made = 0
        while made < updates:
            for batch in self.loader:
                with torch.autocast("cpu", torch.bfloat16):
                    loss = loss_of(self.net, *batch)
                if finder is not None:
                    finder.loss(loss)
                self.optimizer.zero_grad()
                self.scaler.scale(loss).backward()
                self.scaler.step(self.optimizer)
                self.scaler.update()
                self.rates.append(self.optimizer.param_groups[0]["lr"])
                self.scheduler.step()
                self.average.update_parameters(self.net)
                made += 1
                if made == updates or (finder is not None and finder.done):
                    break
            if finder is not None and finder.done:
                break

    def state(self) -> str:
        return state(self.net, self.optimizer, self.scheduler, self.average, self.scaler) + repr(
            self.generator.get_state()
        )

    def attached(self, **options):
        return lrfinder.attach(self.optimizer, self.net, self.average, self.scaler, self.loader, **(SHORT | options))


def test_everything_comes_back_bit_for_bit_and_the_run_goes_on_as_without_it() -> None:
    torch.manual_seed(3)
    swept, untouched = Everything(), Everything()
    torch.manual_seed(4)
    before = swept.state()
    with swept.attached() as finder:
        swept.train(10**6, finder)
    assert swept.state() == before
    assert len(finder.result.traces) == 2
    swept.rates.clear()
    torch.manual_seed(4)
    swept.train(12)
    torch.manual_seed(4)
    untouched.rates.clear()
    untouched.train(12)
    assert swept.state() == untouched.state()
    assert swept.rates == untouched.rates


def test_the_run_at_the_recommended_rate_is_that_which_was_given_it_from_the_start() -> None:
    def train(net, optimizer, *, updates=10**6, scheduler=None, finder=None) -> list[float]:
        rates = []
        while len(rates) < updates and not (finder and finder.done):
            loss = loss_of(net)
            if finder:
                finder.loss(loss)
            optimizer.zero_grad()
            loss.backward()
            rates.append(optimizer.param_groups[1]["lr"])
            optimizer.step()
            if scheduler:
                scheduler.step()
        return rates

    net, optimizer = plain()
    with lrfinder.attach(optimizer, net, max_lr=10.0) as finder:
        train(net, optimizer, finder=finder)
    advice = lrfinder.recommend(finder.result, steps=12, schedule="cosine")
    assert advice.lr is not None, advice.why
    rates = train(net, optimizer, updates=12, scheduler=advice.schedule.scheduler(optimizer))
    assert rates == pytest.approx(advice.schedule.lrs(), rel=1e-12)
    fresh, other = plain()
    other.param_groups[0]["lr"], other.param_groups[1]["lr"] = advice.lr / 2, advice.lr
    assert train(fresh, other, updates=12, scheduler=advice.schedule.scheduler(other)) == rates
    assert state(net, optimizer) == state(fresh, other)


def test_a_scheduler_of_the_loop_finds_the_rates_that_it_set() -> None:
    training = Everything()
    reference = Everything()
    with training.attached(repeats=1) as finder:
        training.rates.clear()
        training.train(20, finder)
        reference.rates.clear()
        reference.train(20)
        assert training.rates == reference.rates
    assert finder.result.lrs[0] == finder.settings.lrs()[:19]


@pytest.mark.parametrize(
    ("error", "stop"),
    [
        (None, Stop.OUT_OF_DATA),
        (KeyboardInterrupt, Stop.INTERRUPTED),
        (ZeroDivisionError, Stop.FAILED),
    ],
)
def test_a_loop_that_ends_early_leaves_what_was_measured(error, stop) -> None:
    training = Everything()
    before = training.state()
    finder = training.attached()
    try:
        with finder:
            training.train(27, finder)
            if error:
                raise error
    except (KeyboardInterrupt, ZeroDivisionError):
        assert error is not None
    assert training.state() == before
    result = finder.result
    assert [trace.stop for trace in result.traces] == [Stop.COMPLETED, stop]
    assert [len(losses) for losses in result.losses] == [20, 5]
    assert result.traces[1].why.endswith("6 of 20 updates made")
    assert lrfinder.recommend(result, steps=100).status is not None


def test_rates_that_blow_up_end_the_repeat_and_not_the_loop() -> None:
    training = Everything()
    before = training.state()
    with training.attached(max_lr=1e4, steps=40) as finder:
        training.train(10**6, finder)
    assert training.state() == before
    assert [trace.stop.blew_up for trace in finder.result.traces] == [True, True]
    assert all(len(losses) < 40 for losses in finder.result.losses)


def test_an_optimizer_with_a_closure() -> None:
    rates = []

    def losses(watch):
        torch.manual_seed(0)
        net = nn.Linear(4, 1)
        optimizer = torch.optim.LBFGS(net.parameters(), lr=1.0, max_iter=3)
        told = []

        def closure():
            optimizer.zero_grad()
            loss = loss_of(net)
            loss.backward()
            watch and watch[0].loss(loss)
            told.append(loss.item())
            return loss

        return net, optimizer, closure, told

    watch: list = []
    net, optimizer, closure, _ = losses(watch)
    with lrfinder.attach(optimizer, net, repeats=1, **SHORT) as finder:
        watch.append(finder)
        while not finder.done:
            optimizer.step(closure)
    rates = finder.settings.lrs()
    net, optimizer, closure, told = losses([])
    expected = []
    for rate in rates:
        optimizer.param_groups[0]["lr"] = rate
        told.clear()
        optimizer.step(closure)
        expected.append(told[0])
    expected.append(loss_of(net).item())
    trace = finder.result.traces[0]
    assert (trace.initial_loss, *trace.losses) == tuple(expected)


def test_a_loss_that_is_told_after_the_step() -> None:
    net, optimizer = plain()
    with lrfinder.attach(optimizer, net, loss_after_step=True, repeats=2, **SHORT) as finder:
        while not finder.done:
            optimizer.zero_grad()
            loss = loss_of(net)
            loss.backward()
            optimizer.step()
            finder.loss(loss)
    first, *rest = by_hand(finder.settings.lrs(), [(INPUTS, TARGETS)])
    assert [trace.initial_loss for trace in finder.result.traces] == [first, first]
    assert finder.result.losses == (tuple(rest), tuple(rest))


def test_the_first_steps_that_a_scaler_skips_are_no_accumulation() -> None:
    net, optimizer = plain()
    scaler = torch.amp.GradScaler(
        "cpu", init_scale=2.0**127
    )  # beyond single precision, times a gradient, until it has fallen
    loader = DataLoader(TensorDataset(INPUTS, TARGETS), batch_size=8)
    seen = 0
    with lrfinder.attach(optimizer, net, scaler, loader, repeats=1, **SHORT) as finder:
        while not finder.done:
            for batch in loader:
                loss = 64 * loss_of(net, *batch)
                finder.loss(loss)
                optimizer.zero_grad()
                scaler.scale(loss).backward()
                scaler.step(optimizer)
                scaler.update()
                seen += 1
                if finder.done:
                    break
    result = finder.result
    assert seen > result.updates + 1  # some were skipped
    assert (result.setup.batch_size, result.setup.batches_per_epoch) == (8, 6)


def test_a_scaler_that_skips_every_step_ends_the_repeat() -> None:
    net, optimizer = plain()
    scaler = torch.amp.GradScaler("cpu")
    with lrfinder.attach(optimizer, net, scaler, repeats=1, **SHORT) as finder:
        for batch in range(200):
            loss = loss_of(net) * (float("inf") if batch > 10 else 1.0)
            finder.loss(loss)
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            if finder.done:
                break
    assert batch < 50
    assert finder.result.status is Stop.NON_FINITE


def test_it_can_be_kept_in_a_run_folder(tmp_path) -> None:
    training = Everything()
    with training.attached(out=tmp_path / "run") as finder:
        training.train(10**6, finder)
    read = lrfinder.recommend(tmp_path / "run", steps=100)
    assert read.result.losses == finder.result.losses
    assert read.lr == lrfinder.recommend(finder.result, steps=100).lr


def test_another_network_that_the_loop_trains_begins_each_repeat_as_it_was() -> None:
    """A discriminator beside a generator, say: each with an optimizer of its own, of which one is attached."""
    net, optimizer = plain()
    other, beside = plain()
    with lrfinder.attach(optimizer, net, other, beside, repeats=2, **SHORT) as finder:
        while not finder.done:
            optimizer.zero_grad()
            beside.zero_grad()
            loss = loss_of(net) + loss_of(other)
            finder.loss(loss)
            loss.backward()
            beside.step()
            optimizer.step()
    assert finder.result.losses[0] == finder.result.losses[1]


def test_what_else_the_loop_uses_may_be_anything() -> None:
    """An array comes back, too; what has no attributes is left alone."""
    net, optimizer = plain()
    seen = np.zeros(2)
    with lrfinder.attach(optimizer, net, seen, 3, (n for n in "abc"), **SHORT) as finder:
        while not finder.done:
            optimizer.zero_grad()
            loss = loss_of(net)
            finder.loss(loss)
            loss.backward()
            optimizer.step()
            seen += 1
    assert seen.tolist() == [0.0, 0.0]


@pytest.mark.filterwarnings("ignore")  # Lightning's own
def test_an_optimizer_of_fabric() -> None:
    from lightning.fabric import Fabric

    fabric = Fabric(accelerator="cpu", devices=1)
    net, optimizer = plain()
    net, optimizer = fabric.setup(net, optimizer)
    with lrfinder.attach(optimizer, net, repeats=1, **SHORT) as finder:
        while not finder.done:
            optimizer.zero_grad()
            loss = loss_of(net)
            finder.loss(loss)
            fabric.backward(loss)
            optimizer.step()
    first, *rest = by_hand(finder.settings.lrs(), [(INPUTS, TARGETS)])
    trace = finder.result.traces[0]
    assert (trace.initial_loss, *trace.losses) == (first, *rest)


def test_one_of_several_processes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    net, optimizer = plain()
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    with pytest.raises(lrfinder.UsageError, match="one of 2 processes"):
        lrfinder.attach(optimizer, net)


def test_what_can_t_be_attached_is_said() -> None:
    net, optimizer = plain()
    other = copy.deepcopy(net)
    with pytest.raises(lrfinder.ModelFileError, match="holds none of the model's trainable parameters"):
        lrfinder.attach(optimizer, other)
    with pytest.raises(lrfinder.UsageError, match=r"no torch\.optim\.Optimizer"):
        lrfinder.attach(net, net)
    with pytest.raises(lrfinder.UsageError, match="max_lr"):
        lrfinder.attach(optimizer, net, max_lr=-1.0)
    with lrfinder.attach(optimizer, net) as finder:
        pass
    with pytest.raises(lrfinder.UsageError, match="nothing was measured"):
        _ = finder.result
    loss_of(net).backward()
    with lrfinder.attach(optimizer, net):
        optimizer.step()
        with pytest.raises(lrfinder.UsageError, match="told no loss"):
            optimizer.step()
    with lrfinder.attach(optimizer, net) as finder:
        for _ in range(1000):
            finder.loss(1.0)
        with pytest.raises(lrfinder.UsageError, match="made no step"):
            finder.loss(1.0)
        with pytest.raises(lrfinder.UsageError, match="not one number"):
            finder.loss(torch.ones(3))
