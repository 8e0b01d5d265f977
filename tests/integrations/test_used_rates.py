"""`check --log` on the logs of real runs of Hugging Face's Trainer and Lightning, and on logs of known mistakes."""

from __future__ import annotations

import itertools
from pathlib import Path

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset
from transformers import Trainer, TrainingArguments

import lrfinder
from lrfinder.config import OptimizerConfig, ScheduleConfig, dump
from lrfinder.errors import UsageError
from lrfinder.schedules import Cosine, Linear, Plateau, Schedule

STEPS = 24


def written(folder: Path, schedule: Schedule, groups: tuple[float, ...] | None = None) -> tuple[ScheduleConfig, Path]:
    config = ScheduleConfig(optimizer=OptimizerConfig(name="AdamW", lr=0.01, groups=groups), schedule=schedule)
    dump(config, folder / "schedule.yaml")
    return config, folder / "schedule.yaml"


class Pairs(Dataset):
    def __len__(self) -> int:
        return 32

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"x": torch.full((2,), float(index)), "labels": torch.tensor(float(index))}


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": (self.layer(x).squeeze(-1) - labels).square().mean()}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("every", [1, 5])
def test_a_trainer_s_state(tmp_path: Path, every: int) -> None:
    config, path = written(tmp_path, Linear(steps=STEPS, warmup=4))

    def run(name: str, *, ours: bool) -> Path:
        model = Model()
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        arguments = TrainingArguments(
            output_dir=str(tmp_path / name), max_steps=STEPS, per_device_train_batch_size=8, logging_steps=every,
            use_cpu=True, report_to=[], disable_tqdm=True, save_strategy="no", lr_scheduler_type="cosine",
        )  # fmt: skip
        schedulers = (optimizer, config.scheduler(optimizer) if ours else None)
        trainer = Trainer(model=model, args=arguments, train_dataset=Pairs(), optimizers=schedulers)
        trainer.train()
        trainer.save_state()
        return tmp_path / name / "trainer_state.json"

    used = lrfinder.check_log(run("ours", ours=True), path)
    assert (used.sane, used.rates, used.last) == (True, STEPS // every, STEPS // every * every)
    assert used.t_of_0 == -1  # the step counts the updates that are done, and the rate is that of the last one
    other = lrfinder.check_log(run("theirs", ours=False), path)
    assert (other.sane, other.step) == (False, every)
    assert other.hint == "look for a second scheduler, or a trainer that sets rates itself"


class Module(lightning.LightningModule):
    def __init__(self, config: ScheduleConfig, interval: str, ratios: tuple[float, ...]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(1, 1) for _ in ratios)
        self.config, self.interval, self.ratios = config, interval, ratios

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        return sum(layer(batch[0]).square().mean() for layer in self.layers)

    def configure_optimizers(self):
        groups = [{"params": it.parameters(), "lr": ratio} for it, ratio in zip(self.layers, self.ratios, strict=True)]
        optimizer = torch.optim.AdamW(groups)
        return [optimizer], [{"scheduler": self.config.scheduler(optimizer), "interval": self.interval}]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("interval", "ratios", "groups"),
    [("step", (1.0,), None), ("step", (0.1, 1.0), None), ("step", (1.0, 1.0), (1.0, 0.5)), ("epoch", (1.0,), None)],
)
def test_lightning_s_metrics(tmp_path: Path, interval: str, ratios: tuple[float, ...], groups) -> None:
    config, path = written(tmp_path, Cosine(steps=STEPS, warmup=3), groups)
    logger = CSVLogger(tmp_path, name="", version="log")
    trainer = lightning.Trainer(
        max_epochs=STEPS // 4, accelerator="cpu", logger=logger, enable_checkpointing=False, log_every_n_steps=1,
        enable_progress_bar=False, enable_model_summary=False,
        callbacks=[LearningRateMonitor("step", log_momentum=True, log_weight_decay=True)],
    )  # fmt: skip
    loader = DataLoader(TensorDataset(torch.ones(16, 1)), batch_size=4)
    trainer.fit(Module(config, interval, ratios), loader)
    used = lrfinder.check_log(tmp_path / "log" / "metrics.csv", path)
    if interval == "step":
        assert (used.sane, used.rates, used.t_of_0) == (True, STEPS * len(ratios), 0)
    else:
        assert (used.sane, used.step) == (False, 1)
        assert used.hint.startswith("the scheduler was stepped once in 4 updates")


def log(path: Path, rates: list[float], **columns: list[float]) -> Path:
    rows = itertools.zip_longest(range(len(rates)), rates, *columns.values())
    lines = [",".join(map(repr, row)) for row in rows]
    path.write_text("\n".join([",".join(["step", "lr", *columns]), *lines, ""]))
    return path


PATTERNS = {
    "the rate stayed at 0.01: call scheduler.step()": lambda f, t: 0.01,
    "every rate is 0.5 times the config's": lambda f, t: 0.5 * f(t),
    "the scheduler was stepped 8 times an update": lambda f, t: f(8 * t),
    "the scheduler was stepped once in 7 updates": lambda f, t: f(t // 7),
    "from there on the schedule is 3 updates late": lambda f, t: f(t if t < 30 else t - 3),
    "the scheduler was stepped once an epoch": lambda f, t: f(t // 90),
    "look for a second scheduler": lambda f, t: f(t) if t < 100 else 0.004,
}


@pytest.mark.parametrize("text", PATTERNS)
def test_what_went_wrong_is_told(tmp_path: Path, text: str) -> None:
    config, path = written(tmp_path, Linear(steps=200, warmup=10))
    rates = [PATTERNS[text](config.rate, t) for t in range(200)]
    file = log(tmp_path / "log.csv", rates, epoch=[(t + 1) / 90 for t in range(200)])
    used = lrfinder.check_log(file, path)
    assert used.sane is False
    assert used.hint.startswith(text)
    first = next(t for t in range(200) if abs(rates[t] - config.rate(t)) > 1e-5)
    assert abs(used.step - first) <= 1  # a log that counts updates done fits as long
    assert f"first step with another rate is {used.step}" in used.why


def test_rounded_and_partial_logs(tmp_path: Path) -> None:
    config, path = written(tmp_path, Cosine(steps=200, warmup=10))
    rounded = log(tmp_path / "rounded.csv", [float(f"{config.rate(t):.4f}") for t in range(120)])
    assert lrfinder.check_log(rounded, path).sane is False
    assert lrfinder.check_log(rounded, path, tolerance=0.01).sane is True
    assert lrfinder.check_log(log(tmp_path / "exact.csv", [config.rate(t) for t in range(120)]), path).last == 119


BAD = {
    "nothing.json": ("{}", "nothing.json: no log_history in it"),
    "broken.json": ("{", "broken.json: not valid JSON"),
    "no-rate.json": ('{"log_history": [{"loss": 1.0, "step": 2}]}', "no rate is logged in it"),
    "no-step.json": ('{"log_history": [{"learning_rate": 0.1}]}', r"log_history\[0\]: expected a whole step"),
    "text.csv": ("step,lr\n1,fast\n", "text.csv:2: expected a whole step and a rate"),
    "nan.csv": ("step,lr\n1,nan\n", "nan.csv:2: expected"),
    "other.csv": ("a,b\n1,2\n", "other.csv:1: no columns step and lr in the header 'a,b'"),
    "empty.csv": ("", "empty.csv:1: no columns"),
    "headless.csv": ("0,0.1\n", "headless.csv:1: no columns"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_log_is_refused(tmp_path: Path, name: str) -> None:
    _, path = written(tmp_path, Linear(steps=20))
    (tmp_path / name).write_text(BAD[name][0])
    with pytest.raises(UsageError, match=BAD[name][1]):
        lrfinder.check_log(tmp_path / name, path)


def test_what_can_t_be_compared_is_refused(tmp_path: Path) -> None:
    file = log(tmp_path / "log.csv", [0.01] * 5)
    with pytest.raises(UsageError, match="the rates of a plateau follow the losses"):
        lrfinder.check_log(file, written(tmp_path, Plateau(steps=20))[1])
    (tmp_path / "groups.csv").write_text("step,lr-A/pg1,lr-A/pg2\n0,0.01,0.01\n")
    with pytest.raises(UsageError, match=r"2 param groups .*and the config has 3"):
        lrfinder.check_log(tmp_path / "groups.csv", written(tmp_path, Linear(steps=9), (1.0, 1.0, 0.5))[1])
