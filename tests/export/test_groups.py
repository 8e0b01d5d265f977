"""What a config says beside f(t) reaches the other framework, or is said to be left out: ratios, momentum, settings."""

from __future__ import annotations

import csv
import io
import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from helpers.zygote import Zygote
from lrfinder.config import OptimizerConfig, ScheduleConfig
from lrfinder.errors import UsageError
from lrfinder.export import EXPORTERS, export_schedule
from lrfinder.export.base import Export, Exporter
from lrfinder.importing import import_schedule
from lrfinder.schedules import Cosine, Cyclical, Linear, Plateau, Schedule

STEPS, RATIOS = 6, (0.1, 1.0, 0.25)
LOSSES = [1.0, 2.0, 3.0]  # of an epoch each, of two updates: the second and the third cut a plateau without patience
SHAPES: dict[str, Schedule] = {
    "linear": Linear(steps=STEPS, warmup=2),
    "preset of transformers": Linear(steps=STEPS),
    "plateau": Plateau(steps=STEPS, factor=0.5, patience=0, floor=0.3),
    "plateau with a warm-up": Plateau(steps=STEPS, factor=0.5, patience=0, floor=0.3, warmup=3),
}
shapes = pytest.mark.parametrize("schedule", SHAPES.values(), ids=list(SHAPES))


def config(schedule: Schedule, *, name: str = "AdamW", groups: tuple[float, ...] | None = RATIOS) -> ScheduleConfig:
    optimizer = OptimizerConfig(name=name, lr=0.08, groups=groups, settings={"weight_decay": 0.05})
    return ScheduleConfig(optimizer=optimizer, schedule=schedule)


def exported(made: ScheduleConfig, target: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "exported"}
    exec(export_schedule(made, target).text, names)  # noqa: S102 - our own text
    return names


def expected(schedule: Schedule) -> list[list[float]]:
    """The rate of each group at each update, by hand: a plateau halves behind the second and third epoch, to 0.3."""
    shares = [1.0, 1.0, 1.0, 1.0, 0.5, 0.5] if schedule.reads_losses else [1.0] * STEPS
    return [
        [0.08 * ratio * schedule.factor(t) * share for ratio in RATIOS]
        for t, share in zip(range(STEPS), shares, strict=True)
    ]


def rates(optimizer: Any) -> list[float]:
    return [float(group["lr"]) for group in optimizer.param_groups]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(2, 2) for _ in RATIOS)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        y = x
        for layer in self.layers:
            y = layer(y)
        return {"loss": nn.functional.mse_loss(y, labels), "logits": y}


@shapes
def test_lightnings_trainer_gives_each_group_its_rate(schedule: Schedule, tmp_path: Path) -> None:
    import lightning

    used, names = [], exported(config(schedule), "lightning")
    loader = DataLoader(TensorDataset(torch.ones(4, 2)), batch_size=2)

    class Module(lightning.LightningModule):
        configure_optimizers = names["configure_optimizers"]

        def __init__(self) -> None:
            super().__init__()
            self.net = Net()

        def param_groups(self) -> Any:
            return [layer.parameters() for layer in self.net.layers]

        def training_step(self, batch: Any, _: int) -> Any:
            return self.net(batch[0], batch[0])["loss"]

        def validation_step(self, batch: Any, _: int) -> None:
            self.log("val_loss", LOSSES[self.current_epoch])

        def on_before_optimizer_step(self, optimizer: Any) -> None:
            used.append(rates(optimizer))
            assert [group["weight_decay"] for group in optimizer.param_groups] == [0.05] * len(RATIOS)

    if "on_validation_epoch_end" in names:
        Module.on_validation_epoch_end = names["on_validation_epoch_end"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning on workers, progress bars and its own deprecations
        lightning.Trainer(
            max_epochs=len(LOSSES),
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        ).fit(Module(), loader, loader)
    for found, right in zip(used, expected(schedule), strict=True):
        assert found == pytest.approx(right, rel=1e-9)


@shapes
def test_hugging_faces_trainer_gives_each_group_its_rate(schedule: Schedule, tmp_path: Path) -> None:
    import transformers

    names, net, used, losses = exported(config(schedule), "huggingface"), Net(), [], iter(LOSSES)
    optimizers = names["optimizers"]([layer.parameters() for layer in net.layers])

    class Log(transformers.TrainerCallback):
        def on_pre_optimizer_step(self, *_: Any, optimizer: Any, **__: Any) -> None:
            used.append(rates(optimizer))

        def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any, **__: Any) -> None:
            metrics["eval_loss"] = next(losses)

    rows = [{"x": torch.ones(2), "labels": torch.ones(2)} for _ in range(4)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        transformers.Trainer(
            net,
            transformers.TrainingArguments(
                output_dir=str(tmp_path),
                per_device_train_batch_size=2,
                max_steps=STEPS,
                eval_strategy="epoch",
                report_to=[],
                save_strategy="no",
                logging_strategy="no",
                use_cpu=True,
                disable_tqdm=True,
            ),
            train_dataset=rows,
            eval_dataset=rows,
            callbacks=[Log(), *([names["Observe"]()] if "Observe" in names else [])],
            optimizers=optimizers,
        ).train()
    for found, right in zip(used, expected(schedule), strict=True):
        assert found == pytest.approx(right, rel=1e-9)


@pytest.mark.parametrize("name", ["Adam", "Adafactor", "AdamW"])
def test_the_trainer_is_not_left_to_its_own_optimizer(name: str) -> None:
    """TrainingArguments without `optim` would train another one at this one's rate."""
    names = exported(config(SHAPES["preset of transformers"], name=name, groups=None), "huggingface")
    if name == "AdamW":
        assert (names["ARGUMENTS"]["optim"], names["ARGUMENTS"]["weight_decay"]) == ("adamw_torch", 0.05)
        return
    optimizer, _ = names["optimizers"](nn.Linear(1, 1))
    assert type(optimizer).__name__ == name
    assert optimizer.param_groups[0]["weight_decay"] == 0.05


@pytest.mark.parametrize("target", ["huggingface", "lightning", "mmengine"])
def test_a_list_with_none_in_it_is_a_list_again(target: str) -> None:
    """A config has torch's Adafactor's eps as text, which the class refuses."""
    net = nn.Linear(2, 1)
    own = torch.optim.Adafactor(net.parameters(), lr=0.08, eps=(None, 0.5))
    given = import_schedule(torch.optim.lr_scheduler.LinearLR(own, 0.5, total_iters=8), steps=12)
    assert given.optimizer.settings["eps"] == "(None, 0.5)"
    text = export_schedule(given, target).text
    if target == "mmengine":
        assert "eps=(None, 0.5)" in text
        return
    names: dict[str, Any] = {}
    exec(text, names)  # noqa: S102 - our own text
    if target == "huggingface":
        made, _ = names["optimizers"](net)
    else:
        made = names["configure_optimizers"](net)["optimizer"]
    assert type(made) is torch.optim.Adafactor
    assert made.param_groups[0]["eps"] == (None, 0.5)


@pytest.mark.parametrize(
    "text",
    ["(None, print())", "(None, 1e999)", "(None, 'a')", "[0.1, 0.2]", "(" * 300, "(None, (None,))", "None", "[]"],
)
def test_other_texts_stay_texts(text: str) -> None:
    made = ScheduleConfig(
        optimizer=OptimizerConfig(name="Adafactor", lr=0.08, settings={"eps": text}), schedule=Linear(steps=12)
    )
    assert f"eps={text!r}" in export_schedule(made, "huggingface").text


@pytest.mark.parametrize("target", ["huggingface", "deepspeed"])
def test_a_decay_that_the_config_leaves_to_torch_is_torchs(target: str) -> None:
    """The Trainer and DeepSpeed have 0 for AdamW by default."""
    left = ScheduleConfig(optimizer=OptimizerConfig(name="AdamW", lr=0.08), schedule=Linear(steps=12))
    text = export_schedule(left, target).text
    names: dict[str, Any] = {}
    if target == "huggingface":
        exec(text, names)  # noqa: S102 - our own text
    given = names["ARGUMENTS"] if names else json.loads(text)["optimizer"]["params"]
    assert given["weight_decay"] == torch.optim.AdamW([nn.Parameter(torch.ones(1))]).defaults["weight_decay"]


@pytest.mark.parametrize("betas", [0.0, "ab", (0.9,), (0.9, 0.99, 0.999)])
def test_betas_that_training_arguments_cant_say_are_left_to_the_optimizer(betas: Any) -> None:
    optimizer = OptimizerConfig(name="AdamW", lr=0.08, settings={"betas": betas})
    made = ScheduleConfig(optimizer=optimizer, schedule=SHAPES["preset of transformers"])
    assert f"betas={betas!r}" in export_schedule(made, "huggingface").text


@pytest.mark.parametrize("target", ["keras", "axolotl"])
def test_what_has_one_rate_for_everything_refuses_ratios(target: str) -> None:
    with pytest.raises(UsageError, match=rf"ratios \[0\.1, 1\.0, 0\.25\], which {target} can't say") as refused:
        export_schedule(config(SHAPES["linear"]), target)
    assert "choose one of: torch, lightning" in refused.value.hint
    assert export_schedule(config(SHAPES["linear"], groups=(1.0, 1.0)), target).text


def test_ratios_that_cannot_be_written_are_said_in_the_file_and_beside_it() -> None:
    for schedule in (SHAPES["linear"], Linear(steps=STEPS, warmup=2, warmup_start=0.0)):
        export = export_schedule(config(schedule), "mmengine")
        (said,) = export.left_out
        assert "[0.1, 1.0, 0.25]" in said
        assert f"# {said}\n" in export.text
    assert export_schedule(config(SHAPES["linear"], groups=None), "mmengine").left_out == ()


def test_the_command_says_what_is_left_out(zygote: Zygote, tmp_path: Path) -> None:
    two_groups = Path(__file__).parents[2] / "configs" / "schedules" / "cosine-two-groups.yaml"
    _, left_out = zygote.run("schedule", "export", two_groups, "--to", "mmengine", cwd=tmp_path)
    assert "warning: The config's param groups have the ratios [1.0, 0.1]: this file leaves them out" in left_out.stderr
    _, kept = zygote.run("schedule", "export", two_groups, "--to", "lightning", cwd=tmp_path)
    assert kept.stderr == ""


def test_one_group_below_the_peak_is_below_it_everywhere() -> None:
    """A single ratio that isn't 1 is a rate of its own as well."""
    made = config(Linear(steps=4), groups=(0.5,))
    for target in ("deepspeed", "torchtune"):
        assert export_schedule(made, target).preset is None
    optimizer, _ = exported(made, "huggingface")["optimizers"]([nn.Linear(1, 1).parameters()])
    assert rates(optimizer) == [0.04]


def test_tables_have_a_column_for_every_group_and_for_the_momentum() -> None:
    made = config(Cyclical(steps=STEPS, up=3, momentums=(0.85, 0.95)))
    rows = list(csv.DictReader(io.StringIO(export_schedule(made, "csv").text)))
    table = json.loads(export_schedule(made, "json").text)
    for t, row in enumerate(rows):
        assert float(row["lr"]) == made.rate(t) == table["lrs"][t]
        assert [float(row[f"group_{i}"]) for i in range(3)] == [made.rate(t) * ratio for ratio in RATIOS]
        assert float(row["momentum"]) == made.schedule.momentum(t) == table["momentums"][t]
    assert table["optimizer"] == made.as_data()["optimizer"]


def test_a_momentum_that_moves_is_said_to_be_left_out() -> None:
    moving = config(Cyclical(steps=STEPS, up=3, momentums=(0.85, 0.95)), groups=None)
    assert "momentum" in export_schedule(moving, "torch").left_out[0]
    assert export_schedule(moving, "csv").left_out == ()


def test_optax_has_a_schedule_for_every_group() -> None:
    for schedule in (Cosine(steps=STEPS), Linear(steps=STEPS)):
        text = export_schedule(config(schedule), "optax").text
        names: dict[str, Any] = {}
        exec(text[text.index("\nRATIOS") :], {"schedule": lambda count: 8.0 * count}, names)  # noqa: S102
        assert [each(2) for each in names["schedules"]] == [1.6, 16.0, 4.0]


@pytest.mark.needs("jax", "optax")
@pytest.mark.parametrize("schedule", [Cosine(steps=STEPS), Plateau(steps=STEPS)], ids=lambda it: it.name)
def test_optax_names_the_configs_optimizer(schedule: Schedule) -> None:
    import optax

    for name in ("AdamW", "SGD", "RMSprop", "NAdam", "torch.optim.Adagrad", "some.package.Lion", "Adafactor", "Rprop"):
        text = export_schedule(config(schedule, name=name), "optax").text
        alias = name.rpartition(".")[2].lower()
        assert f"optax.{alias}" in text
        assert hasattr(optax, alias)
    for name in ("Muon + AdamW", "Muon", "ASGD"):
        text = export_schedule(config(schedule, name=name), "optax").text
        assert "OPTIMIZER(" in text or "(OPTIMIZER)" in text
        assert "optax.adamw" not in text


def test_an_exporter_that_says_nothing_of_groups_is_given_none(monkeypatch: pytest.MonkeyPatch) -> None:
    quiet = Exporter(title="a plug-in's", export=lambda it: Export(text=it.schedule.name, preset=None))
    monkeypatch.setattr("lrfinder.export.EXPORTERS", {**EXPORTERS, "quiet": quiet})
    assert export_schedule(config(SHAPES["linear"], groups=None), "quiet").text == "linear"
    with pytest.raises(UsageError, match=r"ratios \[0\.1, 1\.0, 0\.25\], which quiet can't say"):
        export_schedule(config(SHAPES["linear"]), "quiet")


def test_a_list_of_every_rate_ends_where_it_would_fill_the_memory() -> None:
    huge = config(Linear(steps=100_000_000), groups=None)
    for target in ("csv", "json"):
        with pytest.raises(UsageError, match="100000000 rates are too many to list"):
            export_schedule(huge, target)
