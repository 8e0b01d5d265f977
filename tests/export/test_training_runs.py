"""Real training runs log the rates that their updates use, and they are f(t): torch, Lightning, Trainer, Accelerate."""

from __future__ import annotations

import itertools
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from helpers.processes import seen_by_two_ranks
from lrfinder.config import OptimizerConfig, ScheduleConfig
from lrfinder.export import export_schedule
from lrfinder.schedules import Cosine, Linear, OneCycle, Schedule, Step

STEPS = 12
SHAPES = [
    Linear(steps=STEPS, warmup=3),
    Cosine(steps=STEPS, final=0.1),
    Step(steps=STEPS, warmup=1, every=4, factor=0.25),
    OneCycle(steps=STEPS),
]


def config(schedule: Schedule) -> ScheduleConfig:
    return ScheduleConfig(optimizer=OptimizerConfig(name="AdamW", lr=0.0317), schedule=schedule)


def data(batches: int = 8) -> DataLoader[Any]:
    inputs = torch.randn(4 * batches, 3, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(inputs, inputs.sum(1, keepdim=True)), batch_size=4)


def exported(made: ScheduleConfig, target: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "exported"}
    exec(export_schedule(made, target).text, names)  # noqa: S102 - our own text
    return names


def rate(optimizer: Any) -> float:
    return float(optimizer.param_groups[0]["lr"])


@pytest.mark.parametrize("schedule", SHAPES, ids=lambda it: it.name)
@pytest.mark.parametrize("ours", [True, False], ids=["load_schedule", "export"])
def test_plain_torch_with_accumulation_and_autocast(schedule: Schedule, ours: bool) -> None:
    made = config(schedule)
    model = nn.Linear(3, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0)
    scheduler = made.scheduler(optimizer) if ours else exported(made, "torch")["make_scheduler"](optimizer)
    used = []
    for count, (x, y) in enumerate(itertools.islice(itertools.cycle(data()), 2 * STEPS), start=1):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = nn.functional.mse_loss(model(x), y) / 2
        loss.backward()
        if count % 2 == 0:
            used.append(rate(optimizer))
            optimizer.step()
            optimizer.zero_grad()
            scheduler.step()
    assert used == pytest.approx(list(made.lrs()), rel=1e-12)


@pytest.mark.parametrize("schedule", SHAPES, ids=lambda it: it.name)
@pytest.mark.parametrize("ours", [True, False], ids=["load_schedule", "export"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_lightnings_trainer(schedule: Schedule, ours: bool, accumulate: int, tmp_path: Path) -> None:
    import lightning

    made, used = config(schedule), []

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 1)

        def training_step(self, batch: Any, _: int) -> torch.Tensor:
            return nn.functional.mse_loss(self.layer(batch[0]), batch[1])

        def on_before_optimizer_step(self, optimizer: Any) -> None:
            used.append(rate(optimizer))

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.AdamW(self.parameters(), lr=1.0)
            return {
                "optimizer": optimizer,
                "lr_scheduler": {"scheduler": made.scheduler(optimizer), "interval": "step"},
            }

    if not ours:
        Module.configure_optimizers = exported(made, "lightning")["configure_optimizers"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning on workers, progress bars and its own deprecations
        lightning.Trainer(
            max_steps=STEPS,
            max_epochs=-1,
            accumulate_grad_batches=accumulate,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        ).fit(Module(), data())
    assert used == pytest.approx(list(made.lrs()), rel=1e-12)


@pytest.mark.needs("accelerate")
def test_two_processes_of_accelerate_are_told_to_step_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    """It takes the batch for twice as large, and a schedule's length for updates of one process."""
    _, ranks = seen_by_two_ranks(Path(__file__).with_name("two_accelerate_processes.py"), tmp_path_factory)
    made = config(SHAPES[0])
    for seen in ranks:
        assert seen.pop("as it is") == pytest.approx([made.rate(2 * t) for t in range(STEPS)], rel=1e-12)
        assert set(seen) == {"split_batches", "not with the optimizer", "not prepared"}
        for used in seen.values():
            assert used == pytest.approx(list(made.lrs()), rel=1e-12)


class Regression(nn.Module):
    """What Trainer wants of a model: keyword inputs, and the loss first."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": nn.functional.mse_loss(self.layer(x), labels)}


@pytest.mark.parametrize("schedule", SHAPES, ids=lambda it: it.name)
@pytest.mark.parametrize("ours", [True, False], ids=["load_schedule", "export"])
def test_hugging_faces_trainer(schedule: Schedule, ours: bool, tmp_path: Path) -> None:
    import transformers

    made, used = config(schedule), []

    class Log(transformers.TrainerCallback):
        def on_pre_optimizer_step(self, *_: Any, optimizer: Any, **__: Any) -> None:
            used.append(rate(optimizer))

    model = Regression()
    arguments: dict[str, Any] = {"max_steps": STEPS}
    optimizers: Any = (None, None)
    if ours:
        optimizer = torch.optim.AdamW(model.parameters(), lr=1.0)
        optimizers = (optimizer, made.scheduler(optimizer))
    else:
        names = exported(made, "huggingface")
        arguments |= names.get("ARGUMENTS", {})
        if "ARGUMENTS" not in names:
            optimizers = names["optimizers"](model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        transformers.Trainer(
            model,
            transformers.TrainingArguments(
                output_dir=str(tmp_path),
                per_device_train_batch_size=4,
                gradient_accumulation_steps=2,
                report_to=[],
                save_strategy="no",
                logging_strategy="no",
                use_cpu=True,
                disable_tqdm=True,
                **arguments,
            ),
            train_dataset=[{"x": torch.randn(3), "labels": torch.randn(1)} for _ in range(64)],
            callbacks=[Log()],
            optimizers=optimizers,
        ).train()
    assert used == pytest.approx(list(made.lrs()), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("schedule", SHAPES, ids=lambda it: it.name)
@pytest.mark.parametrize("accumulate", [1, 2])
def test_accelerate(schedule: Schedule, accumulate: int) -> None:
    from accelerate import Accelerator

    made, used = config(schedule), []
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=accumulate)
    model = nn.Linear(3, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0)
    model, optimizer, loader, scheduler = accelerator.prepare(model, optimizer, data(), made.scheduler(optimizer))
    for x, y in itertools.islice(itertools.chain.from_iterable(itertools.repeat(loader)), accumulate * STEPS):
        with accelerator.accumulate(model):
            accelerator.backward(nn.functional.mse_loss(model(x), y))
            if accelerator.sync_gradients:
                used.append(rate(optimizer))
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
    assert used == pytest.approx(list(made.lrs()), rel=1e-12)
