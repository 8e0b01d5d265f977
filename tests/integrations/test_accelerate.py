"""A loop with a real `accelerate.Accelerator`: its prepared objects are swept, and the loop then goes on as without."""

from __future__ import annotations

import pytest
import torch
from accelerate import Accelerator, DistributedType
from accelerate.optimizer import AcceleratedOptimizer
from accelerate.state import AcceleratorState, GradientState
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils.data import DataLoader, TensorDataset

import lrfinder
from lrfinder.integrations.accelerate import find_lr

SHORT = {"max_lr": 10.0, "repeats": 1, "run_steps": 10}
INPUTS = torch.randn(64, 4, generator=torch.Generator().manual_seed(1))
DATA = TensorDataset(INPUTS, torch.tanh(INPUTS.sum(1, keepdim=True)))


def step(model: nn.Module, batch: list[torch.Tensor]) -> torch.Tensor:
    return nn.functional.mse_loss(model(batch[0]), batch[1])


def forget() -> None:
    """Let the next Accelerator of this process be the first one."""
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


@pytest.fixture(autouse=True)
def _no_accelerator_is_left():
    yield
    forget()


class Loop:
    """A user's script: one accelerator, prepared objects, accumulation and clipping as Accelerate's guide has them."""

    def __init__(self, lr: float = 1e-3, *, clip: float | None = None, **options) -> None:
        forget()
        self.accelerator = Accelerator(cpu=True, **options)
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 1))
        layers = [{"params": net[0].parameters(), "lr": 0.1 * lr}, {"params": net[4].parameters()}]
        optimizer = torch.optim.AdamW(layers, lr=lr)
        loader = DataLoader(DATA, batch_size=8, shuffle=True)
        self.model, self.optimizer, self.loader = self.accelerator.prepare(net, optimizer, loader)
        self.clip = clip

    def find(self, **options):
        return find_lr(
            self.accelerator, self.model, self.optimizer, self.loader, step, clip_norm=self.clip, **(SHORT | options)
        )

    def run(self, epochs: int = 2, scheduler=None) -> tuple[list, list[torch.Tensor]]:
        """Train, and return the rates of every update, as torch's own hook sees them, and the weights at the end."""
        rates: list = []
        hook = register_optimizer_step_pre_hook(lambda opt, *_: rates.append([g["lr"] for g in opt.param_groups]))
        torch.manual_seed(2)
        try:
            for _ in range(epochs):
                for batch in self.loader:
                    with self.accelerator.accumulate(self.model):
                        self.accelerator.backward(step(self.model, batch))
                        if self.accelerator.sync_gradients and self.clip:
                            self.accelerator.clip_grad_norm_(self.model.parameters(), self.clip)
                        self.optimizer.step()
                        if scheduler is not None:
                            scheduler.step()
                        self.optimizer.zero_grad()
        finally:
            hook.remove()
        return rates, [weight.detach().clone() for weight in self.model.state_dict().values()]


KINDS = [{}, {"gradient_accumulation_steps": 2, "clip": 0.5}, {"mixed_precision": "bf16"}]


@pytest.mark.parametrize("options", KINDS)
def test_a_run_after_it_is_the_run_without_it(options: dict) -> None:
    expected, there = Loop(**options).run()
    loop = Loop(**options)
    state, counters = torch.get_rng_state(), (loop.accelerator.step, dict(vars(loop.accelerator.gradient_state)))
    advice = loop.find(epochs=2)
    assert torch.equal(torch.get_rng_state(), state)
    assert (loop.accelerator.step, dict(vars(loop.accelerator.gradient_state))) == counters
    assert loop.optimizer.state_dict()["state"] == {}
    assert advice.schedule.schedule.steps == 2 * 8 // options.get("gradient_accumulation_steps", 1)
    rates, weights = loop.run()
    assert rates == expected
    assert all(map(torch.equal, weights, there))


def test_a_run_that_goes_on_begins_where_it_was() -> None:
    plain = Loop()
    plain.run()
    expected, there = plain.run()
    loop = Loop()
    loop.run()
    loop.find()
    rates, weights = loop.run()
    assert rates == expected
    assert all(map(torch.equal, weights, there))


def losses_by_hand(rates: tuple[float, ...], *, accumulate: int, clip: float | None, bf16: bool) -> list[float]:
    """The sweep by a loop of plain torch on one batch, without anything random: the losses after each update."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = torch.optim.AdamW(net.parameters())
    losses = []
    for update in range(len(rates) + 1):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            output = net(INPUTS)
        loss = nn.functional.mse_loss(output.float(), DATA.tensors[1])
        losses.append(loss.item())
        if update == len(rates):
            return losses
        optimizer.zero_grad()
        for _ in range(accumulate):
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                output = net(INPUTS)
            (nn.functional.mse_loss(output.float(), DATA.tensors[1]) / accumulate).backward()
        if clip:
            nn.utils.clip_grad_norm_(net.parameters(), clip)
        optimizer.param_groups[0]["lr"] = rates[update]
        optimizer.step()
    return losses


@pytest.mark.parametrize("kind", [{}, {"accumulate": 2}, {"clip": 0.01}, {"bf16": True}])
def test_its_accumulation_clipping_and_precision_are_those_of_a_loop_by_hand(kind: dict) -> None:
    given = {"accumulate": 1, "clip": None, "bf16": False} | kind
    options = {"mixed_precision": "bf16"} if given["bf16"] else {}
    loop = Loop(gradient_accumulation_steps=given["accumulate"], **options)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    model, optimizer, loader = loop.accelerator.prepare(
        net, torch.optim.AdamW(net.parameters()), DataLoader(DATA, batch_size=64)
    )
    keywords = {"repeats": 1, "max_lr": 1.0, "mode": "continuous", "clip_norm": given["clip"]}
    advice = find_lr(loop.accelerator, model, optimizer, loader, step, **keywords)
    swept = advice.result.traces[0]
    expected = losses_by_hand(swept.lrs, **given)
    assert [swept.initial_loss, *swept.losses] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("options", KINDS)
def test_the_schedule_is_followed_and_is_the_run_of_that_rate_from_the_start(options: dict) -> None:
    loop = Loop(**options)
    advice = loop.find(epochs=2, schedule="cosine")
    assert advice.lr is not None, advice.why
    scheduler = loop.accelerator.prepare(advice.schedule.scheduler(loop.optimizer))
    rates, weights = loop.run(scheduler=scheduler)
    planned = advice.schedule.lrs()
    assert [rate for _, rate in rates] == pytest.approx(planned, rel=1e-12)
    assert [rate for rate, _ in rates] == pytest.approx([0.1 * rate for rate in planned], rel=1e-12)
    other = Loop(lr=advice.lr, **options)
    scheduler = other.accelerator.prepare(advice.schedule.scheduler(other.optimizer))
    there, expected = other.run(scheduler=scheduler)
    assert rates == there
    assert all(map(torch.equal, weights, expected))


def test_in_the_middle_of_an_accumulation_steps_are_made_all_the_same() -> None:
    loop = Loop(gradient_accumulation_steps=2)
    with loop.accelerator.accumulate(loop.model):
        assert not loop.accelerator.sync_gradients
    advice = loop.find(epochs=2)
    assert advice.lr is not None, advice.why
    assert not loop.accelerator.sync_gradients
    swept = lrfinder.sweep(
        loop.model, train_loader=loop.loader, training_step=step, optimizer=loop.optimizer, accumulate=2, **SHORT
    )
    assert swept.losses == advice.result.losses


def test_an_optimizer_that_waits_is_named_as_the_reason_that_no_loss_fell() -> None:
    class Waiting(torch.optim.SGD):
        def step(self, closure=None):
            return None

    torch.manual_seed(0)
    net = nn.Linear(4, 1)
    swept = lrfinder.sweep(
        net,
        train_loader=DataLoader(DATA, batch_size=8),
        loss_fn=nn.functional.mse_loss,
        optimizer=Waiting(net.parameters(), lr=0.1),
        **SHORT,
    )
    advice = lrfinder.recommend(swept)
    assert (advice.lr, advice.status) == (None, "refused")
    assert "no weight moved in 100 updates: optimizer.step() changed nothing, though there are gradients" in advice.why


def test_what_can_t_be_swept_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Loop(mixed_precision="bf16")
    net = nn.Linear(4, 1)
    with pytest.raises(lrfinder.UsageError, match="the model isn't prepared"):
        find_lr(loop.accelerator, net, torch.optim.SGD(net.parameters(), lr=0.1), loop.loader, step)
    assert isinstance(loop.optimizer, AcceleratedOptimizer)
    monkeypatch.setitem(AcceleratorState._shared_state, "distributed_type", DistributedType.FSDP)
    with pytest.raises(lrfinder.UsageError, match="can't be swept in one"):
        loop.find()
