"""A real Lightning run with the callback: the run that it would have been, at the rate that was found."""

from __future__ import annotations

from pathlib import Path

import lightning
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LinearLR, OneCycleLR, SequentialLR
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils.data import DataLoader, TensorDataset

import lrfinder
from lrfinder.integrations.lightning import LRFinderCallback

SHORT = {"max_lr": 10.0, "repeats": 1, "run_steps": 10}
SCHEDULERS = {
    "none": None,
    "cosine": lambda optimizer, steps: CosineAnnealingLR(optimizer, T_max=steps),
    "warm-up": lambda optimizer, steps: LambdaLR(optimizer, lambda step: min(1.0, step / 3)),
    "warm-up, then cosine": lambda optimizer, steps: SequentialLR(
        optimizer, [LinearLR(optimizer, 0.1, total_iters=4), CosineAnnealingLR(optimizer, T_max=steps - 4)], [4]
    ),
    "one-cycle": lambda optimizer, steps: OneCycleLR(
        optimizer, [group["lr"] for group in optimizer.param_groups], total_steps=steps
    ),
}


class Net(lightning.LightningModule):
    def __init__(self, lr: float = 1e-3, scheduler: str = "none") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 1))
        self.lr, self.scheduler, self.times_set_up = lr, scheduler, 0

    def setup(self, stage: str) -> None:
        self.times_set_up += 1

    def on_after_batch_transfer(self, batch: list, dataloader_idx: int) -> list:
        return [batch[0] * 0.5, batch[1]]

    def training_step(self, batch: list, batch_idx: int) -> torch.Tensor:
        loss = nn.functional.mse_loss(self.net(batch[0]), batch[1])
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        layers = [{"params": self.net[0].parameters(), "lr": 0.1 * self.lr}, {"params": self.net[3].parameters()}]
        optimizer = torch.optim.AdamW(layers, lr=self.lr)
        if SCHEDULERS[self.scheduler] is None:
            return optimizer
        made = SCHEDULERS[self.scheduler](optimizer, self.trainer.estimated_stepping_batches)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": made, "interval": "step"}}


def loader() -> DataLoader:
    inputs = torch.randn(64, 4, generator=torch.Generator().manual_seed(1))
    return DataLoader(TensorDataset(inputs, inputs.sum(1, keepdim=True)), batch_size=8, shuffle=True)


@pytest.mark.filterwarnings("ignore")  # Lightning's own, of few workers and of missing loggers
def run(folder: Path, module: Net, *callbacks: LRFinderCallback, **options) -> tuple[list, list[torch.Tensor]]:
    """Train, and return the rates of every update, as torch's own hook sees them, and the weights at the end."""
    trainer = lightning.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[*callbacks], default_root_dir=folder, **options,
    )  # fmt: skip
    rates: list[list[float]] = []
    torch.manual_seed(2)

    def note(optimizer, *_) -> None:
        if trainer.global_step or trainer.fit_loop.epoch_loop.batch_progress.total.started:
            rates.append([group["lr"] for group in optimizer.param_groups])

    hook = register_optimizer_step_pre_hook(note)
    try:
        trainer.fit(module, loader())
    finally:
        hook.remove()
    return rates, [parameter.detach().clone() for parameter in module.parameters()]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "options", [{}, {"accumulate_grad_batches": 2, "gradient_clip_val": 1.0}, {"precision": "bf16-mixed"}]
)
def test_without_apply_the_run_is_what_it_would_have_been(tmp_path: Path, options: dict) -> None:
    finder, swept = LRFinderCallback(apply=False, **SHORT), Net(scheduler="cosine")
    rates, weights = run(tmp_path, swept, finder, **options)
    plain_rates, plain = run(tmp_path, Net(scheduler="cosine"), **options)
    assert rates == plain_rates
    assert all(map(torch.equal, weights, plain))
    assert swept.times_set_up == 1
    assert finder.advice.result.updates > 50


class Plain(Net):
    """One without anything random, whose rates a table gives, and which keeps its losses."""

    def __init__(self, rates: tuple[float, ...] = ()) -> None:
        super().__init__()
        self.net[2].p = 0.0
        self.rates, self.losses = rates, []

    def training_step(self, batch: list, batch_idx: int) -> torch.Tensor:
        loss = super().training_step(batch, batch_idx)
        self.losses.append(loss.item())
        return loss

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=1.0)
        if not self.rates:
            return optimizer
        scheduler = LambdaLR(optimizer, lambda step: self.rates[min(step, len(self.rates) - 1)])
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


@pytest.mark.filterwarnings("ignore")
def test_its_losses_are_those_of_a_fit_at_those_rates(tmp_path: Path) -> None:
    inputs, targets = loader().dataset.tensors
    whole = DataLoader(TensorDataset(inputs, targets), batch_size=64)
    finder = LRFinderCallback(apply=False, repeats=1, mode="continuous", max_lr=1.0)
    options = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    options |= {"enable_model_summary": False, "default_root_dir": tmp_path, "gradient_clip_val": 0.5}
    lightning.Trainer(max_steps=1, callbacks=[finder], **options).fit(Plain(), whole)
    swept = finder.advice.result.traces[0]
    fitted = Plain(swept.lrs)
    lightning.Trainer(max_steps=len(swept.lrs), max_epochs=-1, **options).fit(fitted, whole)
    assert [swept.initial_loss, *swept.losses[:-1]] == pytest.approx(fitted.losses, rel=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.as_pinned("lightning")  # whose `fit` takes weights_only
def test_a_fit_that_goes_on_from_a_checkpoint_begins_where_it_was(tmp_path: Path) -> None:
    def fitted(*callbacks: LRFinderCallback) -> list[torch.Tensor]:
        options = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        options |= {"enable_model_summary": False, "default_root_dir": tmp_path}
        first = lightning.Trainer(max_epochs=1, **options)
        torch.manual_seed(2)
        first.fit(Net(scheduler="cosine"), loader())
        first.save_checkpoint(tmp_path / "first.ckpt")
        module = Net(scheduler="cosine")
        lightning.Trainer(max_epochs=2, callbacks=[*callbacks], **options).fit(
            module, loader(), ckpt_path=tmp_path / "first.ckpt", weights_only=False
        )
        return [weight.detach().clone() for weight in module.parameters()]

    finder = LRFinderCallback(apply=False, **SHORT)
    assert all(map(torch.equal, fitted(finder), fitted()))
    assert finder.advice.result.updates > 50


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_applied_it_is_the_run_of_that_rate(tmp_path: Path, scheduler: str) -> None:
    finder = LRFinderCallback(**SHORT)
    rates, weights = run(tmp_path, Net(scheduler=scheduler), finder)
    expected, there = run(tmp_path, Net(lr=finder.advice.lr, scheduler=scheduler))
    assert len(rates) == 16
    assert torch.tensor(rates).allclose(torch.tensor(expected), rtol=1e-6, atol=0)
    assert all(torch.allclose(one, other, rtol=1e-4, atol=1e-6) for one, other in zip(weights, there, strict=True))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("lr", [1, torch.tensor(1e-3)])
def test_whatever_number_the_rate_is_it_is_the_recommended_one_then(tmp_path: Path, lr) -> None:
    class OneGroup(Net):
        def configure_optimizers(self):
            frozen = {"params": self.net[0].parameters(), "lr": 0.0}
            return torch.optim.SGD([frozen, {"params": self.net[3].parameters()}], lr=lr)

    finder = LRFinderCallback(**SHORT)
    rates, _ = run(tmp_path, OneGroup(), finder)
    assert [float(rate) for pair in rates for rate in pair] == pytest.approx([0.0, finder.advice.lr] * 16)


@pytest.mark.filterwarnings("ignore")
def test_a_fast_dev_run_makes_no_sweep_and_says_so(tmp_path: Path) -> None:
    finder = LRFinderCallback(**SHORT)
    with pytest.warns(UserWarning, match="fast_dev_run: no learning rate is looked for"):
        run(tmp_path, Net(), finder, fast_dev_run=True)
    assert finder.advice is None


@pytest.mark.filterwarnings("ignore")
def test_what_can_t_be_swept_is_refused(tmp_path: Path) -> None:
    module = Net()
    module.automatic_optimization = False
    with pytest.raises(lrfinder.UsageError, match="makes its own updates"):
        run(tmp_path, module, LRFinderCallback())
    with pytest.raises(lrfinder.UsageError, match="precision 64-true"):
        run(tmp_path, Net(), LRFinderCallback(), precision="64-true")
