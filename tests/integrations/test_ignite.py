"""A real ignite Engine: its own process function is run with other rates, and then runs as without it."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, TensorDataset

import lrfinder

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # ignite loads parts of torch that are deprecated
    from ignite.engine import Engine, Events, create_supervised_trainer
    from ignite.handlers import LRScheduler

from lrfinder.errors import UsageError
from lrfinder.integrations.ignite import find_lr

SHORT = {"max_lr": 10.0, "repeats": 1, "run_steps": 10}
INPUTS = torch.randn(64, 4, generator=torch.Generator().manual_seed(1))
DATA = TensorDataset(INPUTS, torch.tanh(INPUTS.sum(1, keepdim=True)))


class Training:
    """A script: a trainer of ignite's own factory, with a scheduler, an average of the weights and a counter."""

    def __init__(self, lr: float = 1e-3, *, accumulate: int = 1) -> None:
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 1))
        layers = [{"params": self.net[0].parameters(), "lr": 0.1 * lr}, {"params": self.net[4].parameters()}]
        self.optimizer = torch.optim.AdamW(layers, lr=lr)
        self.generator = torch.Generator().manual_seed(5)
        self.loader = DataLoader(DATA, batch_size=8, shuffle=True, generator=self.generator)
        self.average = AveragedModel(self.net)
        self.trainer = create_supervised_trainer(
            self.net, self.optimizer, nn.MSELoss(), gradient_accumulation_steps=accumulate
        )
        self.trainer.state.seen = 0

        @self.trainer.on(Events.ITERATION_COMPLETED)
        def average(engine: Engine) -> None:
            self.average.update_parameters(self.net)
            engine.state.seen += 1

    def scheduled(self) -> Training:
        self.scheduler = CosineAnnealingLR(self.optimizer, 40)
        self.trainer.add_event_handler(Events.ITERATION_STARTED, LRScheduler(self.scheduler))
        return self

    def find(self, **options):
        return find_lr(
            self.trainer, self.loader, self.net, self.optimizer, self.average, **({"epochs": 2} | SHORT | options)
        )

    def run(self, epochs: int = 2) -> tuple[list, list[torch.Tensor]]:
        """Train, and return the rates of every update, as torch's own hook sees them, and the weights at the end."""
        rates: list = []
        hook = register_optimizer_step_pre_hook(lambda opt, *_: rates.append([g["lr"] for g in opt.param_groups]))
        torch.manual_seed(2)
        try:
            self.trainer.run(self.loader, max_epochs=epochs)
        finally:
            hook.remove()
        return rates, [*self.net.state_dict().values(), *self.average.state_dict().values()]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_run_after_it_is_the_run_without_it(accumulate: int) -> None:
    plain, swept = (Training(accumulate=accumulate).scheduled() for _ in range(2))
    expected, there = plain.run()
    generator, order, state = torch.get_rng_state(), swept.generator.get_state(), dict(vars(swept.trainer.state))
    handlers = dict(swept.trainer._event_handlers)
    advice = swept.find()
    assert dict(swept.trainer._event_handlers) == handlers
    assert torch.equal(torch.get_rng_state(), generator)
    assert torch.equal(swept.generator.get_state(), order)
    assert vars(swept.trainer.state) == state
    assert len(advice.result.traces[0].losses) > 50
    assert advice.schedule.schedule.steps == 2 * 8 // accumulate
    rates, weights = swept.run()
    assert rates == expected
    assert all(map(torch.equal, weights, there))


def test_a_run_that_goes_on_begins_where_it_was() -> None:
    plain, swept = Training().scheduled(), Training().scheduled()
    plain.run()
    swept.run()
    state = dict(vars(swept.trainer.state))
    swept.find()
    assert vars(swept.trainer.state) == state
    expected, there = plain.run(4)
    rates, weights = swept.run(4)
    assert rates == expected
    assert len(rates) == 16
    assert all(map(torch.equal, weights, there))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_its_curve_is_that_of_the_same_trainer_at_those_rates(accumulate: int) -> None:
    """With one batch and nothing random; the rates are set by a handler of ignite's."""

    def made():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        trainer = create_supervised_trainer(net, optimizer, nn.MSELoss(), gradient_accumulation_steps=accumulate)
        return trainer, [DATA.tensors], net, optimizer

    swept = find_lr(*made(), repeats=1, max_lr=1.0).result.traces[0]
    trainer, loader, _, optimizer = made()
    losses = []

    @trainer.on(Events.ITERATION_STARTED)
    def rate(engine: Engine) -> None:
        optimizer.param_groups[0]["lr"] = swept.lrs[(engine.state.iteration - 1) // accumulate]

    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: losses.append(engine.state.output))
    trainer.run(loader, max_epochs=len(swept.lrs) * accumulate)
    assert [swept.initial_loss, *swept.losses[:-1]] == pytest.approx(losses[::accumulate], rel=1e-6)


def test_an_output_that_is_no_loss_is_told_by_what_ignite_calls_it() -> None:
    training = Training()
    training.trainer = create_supervised_trainer(
        training.net, training.optimizer, nn.MSELoss(), output_transform=lambda x, y, guess, loss: {"loss": loss.item()}
    )
    with pytest.raises(UsageError, match="output is of type dict") as caught:
        training.find()
    assert "output_transform" in str(caught.value.hint)
    assert training.find(output_transform=lambda output: output["loss"]).result.traces


def test_its_schedule_is_what_ignite_logs_and_the_run_of_that_rate_from_the_start() -> None:
    training = Training()
    advice = training.find(schedule="cosine")
    assert advice.lr is not None, advice.why
    logs = []
    for made in (training, Training(lr=advice.lr)):
        handler = LRScheduler(advice.schedule.scheduler(made.optimizer), save_history=True)
        made.trainer.add_event_handler(Events.ITERATION_STARTED, handler)
        logs.append((made.run(), made.trainer.state.param_history["lr"]))
    ((rates, weights), history), ((expected, there), _) = logs
    planned = advice.schedule.lrs()
    assert [rate for _, rate in rates] == pytest.approx(planned, rel=1e-12)
    assert [rate for _, rate in history] == pytest.approx(planned, rel=1e-12)
    assert rates == expected
    assert all(map(torch.equal, weights, there))


def test_a_held_out_loss_and_an_output_that_is_more_than_the_loss() -> None:
    training = Training()
    inner = training.trainer

    def more(engine: Engine, batch) -> dict:
        return {"loss": inner._process_function(engine, batch), "size": len(batch[0])}

    loss = nn.functional.mse_loss
    advice = find_lr(
        Engine(more), training.loader, training.net, training.optimizer, epochs=2,
        output_transform=lambda output: output["loss"],
        evaluate=lambda: loss(training.net(INPUTS), DATA.tensors[1]), **SHORT,
    )  # fmt: skip
    assert {run.metric for run in advice.result.runs} == {"val"}
    with pytest.raises(lrfinder.UsageError, match="not one number"):
        find_lr(Engine(more), training.loader, training.net, training.optimizer, **SHORT)
