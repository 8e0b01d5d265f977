"""Exported plateaus in real training runs: they cut at the same evaluations, by the same factors, as f(t)."""

from __future__ import annotations

import itertools
import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from export.matrix import NEEDS
from helpers.zygote import Zygote
from lrfinder.config import OptimizerConfig, ScheduleConfig
from lrfinder.errors import UsageError
from lrfinder.export import EXPORTERS, export_schedule
from lrfinder.schedules import Plateau
from lrfinder.schedules.plateau import PlateauState

PEAK = 0.0317
UPDATES = 2  # an epoch
# Two improvements, a stall that cuts, a gain below a relative threshold of 0.1, more stalls, a gain at the end.
LOSSES: list[float | None] = [1.0, 0.5, 0.5, 0.6, 0.5, 0.46, 0.5, 0.5, 0.5, 0.5, 0.2, 0.2, 0.2, 0.2, 0.2]
STEPS = UPDATES * len(LOSSES)
SHAPES = [
    Plateau(steps=STEPS, factor=0.5, patience=1, threshold=0.1),
    Plateau(steps=STEPS, factor=0.3, patience=0, threshold=0.02, mode="absolute", cooldown=2, floor=0.05),
    Plateau(steps=STEPS, factor=0.5, patience=1, threshold=0.1, cooldown=1, warmup=7),
    Plateau(steps=STEPS, factor=0.5, patience=1, threshold=0.1, cooldown=1, warmup=7, warmup_start=0.0),
]
shapes = pytest.mark.parametrize("schedule", SHAPES, ids=["relative", "absolute", "warm-up", "warm-up from 0"])


def config(schedule: Plateau, groups: tuple[float, ...] | None = None) -> ScheduleConfig:
    return ScheduleConfig(optimizer=OptimizerConfig(name="AdamW", lr=PEAK, groups=groups), schedule=schedule)


def expected(schedule: Plateau, losses: list[float | None] = LOSSES) -> list[float]:
    """The rates of every update: f(t) after the validation losses of the epochs before; None: it had none."""
    state, rates = PlateauState(), []
    for loss in losses:
        rates += [PEAK * schedule.factor(len(rates) + i) * schedule.share(state) for i in range(UPDATES)]
        state = state if loss is None else schedule.observe(state, loss)
    assert state.cuts >= 2
    return rates


def exported(schedule: Plateau, target: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "exported"}
    exec(export_schedule(config(schedule), target).text, names)  # noqa: S102 - our own text
    return names


@shapes
def test_torch(schedule: Plateau) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=9.0)
    scheduler = exported(schedule, "torch")["make_scheduler"](optimizer)
    used = []
    for loss in LOSSES:
        for _ in range(UPDATES):
            used.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if schedule.warmup:
                scheduler.step()
        scheduler.observe(loss) if schedule.warmup else scheduler.step(loss)
    assert used == pytest.approx(expected(schedule), rel=1e-12)


def test_torchs_floor_is_each_groups_own() -> None:
    schedule = Plateau(steps=STEPS, factor=0.1, patience=0, floor=0.5)
    names: dict[str, Any] = {"__name__": "exported"}
    exec(export_schedule(config(schedule, groups=(1.0, 0.1)), "torch").text, names)  # noqa: S102 - our own text
    weights = [nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.SGD([{"params": [weight]} for weight in weights], lr=9.0)
    scheduler = names["make_scheduler"](optimizer)
    for _ in range(4):
        scheduler.step(1.0)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([PEAK / 2, PEAK / 20])


def lightning_module() -> Any:
    """Return a class of modules that lack a validation and an optimizer."""
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 1)

        def training_step(self, batch: Any, _: int) -> torch.Tensor:
            return nn.functional.mse_loss(self.layer(batch[0]), batch[1])

    return Module


@shapes
@pytest.mark.parametrize("ours", [True, False, None], ids=["load_schedule", "export", "reduce_on_plateau"])
def test_lightnings_trainer(schedule: Plateau, ours: bool | None, tmp_path: Path) -> None:
    if ours is None and schedule.warmup:
        pytest.skip("Lightning hands the loss over, and steps for updates or for losses")
    import lightning

    used: list[float] = []
    made = config(schedule)
    inputs = torch.zeros(4 * UPDATES, 3)
    loader = DataLoader(TensorDataset(inputs, inputs[:, :1]), batch_size=4)

    class Module(lightning_module()):
        def validation_step(self, batch: Any, _: int) -> None:
            self.log("val_loss", LOSSES[self.current_epoch])

        def on_before_optimizer_step(self, optimizer: Any) -> None:
            used.append(optimizer.param_groups[0]["lr"])

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.AdamW(self.parameters(), lr=1.0)
            how = {"interval": "step"} if ours else {"reduce_on_plateau": True, "monitor": "val_loss"}
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": made.scheduler(optimizer), **how}}

        def on_validation_epoch_end(self) -> None:
            if ours and not self.trainer.sanity_checking:
                self.lr_schedulers().observe(self.trainer.callback_metrics["val_loss"])

    if ours is False:
        names = exported(schedule, "lightning")
        Module.configure_optimizers = names["configure_optimizers"]
        Module.on_validation_epoch_end = names.get("on_validation_epoch_end", lambda self: None)
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
    assert used == pytest.approx(expected(schedule), rel=1e-6)  # val_loss is logged in single precision


@shapes
@pytest.mark.parametrize(
    ("how", "heard", "silent"),
    [
        pytest.param({}, False, False, id="alone"),
        pytest.param({"reduce_on_plateau": False}, False, False, id="not handed over"),
        pytest.param({"reduce_on_plateau": True}, False, True, id="handed over"),
        pytest.param({}, True, True, id="observed"),
        pytest.param({"interval": "step"}, False, True, id="counted in updates"),
    ],
)
def test_a_monitor_that_lightning_keeps_to_itself_is_told(
    schedule: Plateau, how: dict[str, Any], heard: bool, silent: bool
) -> None:
    if how.get("reduce_on_plateau") and schedule.warmup:
        pytest.skip("Lightning hands the loss over, and steps for updates or for losses")
    import lightning

    made = config(schedule)

    class Module(lightning_module()):
        def validation_step(self, batch: Any, _: int) -> None:
            self.log("val_loss", nn.functional.mse_loss(self.layer(batch[0]), batch[1]))

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.AdamW(self.parameters(), lr=1.0)
            scheduler = {"scheduler": made.scheduler(optimizer), "monitor": "val_loss", **how}
            return {"optimizer": optimizer, "lr_scheduler": scheduler}

        def on_validation_epoch_end(self) -> None:
            if heard and not self.trainer.sanity_checking:
                self.lr_schedulers().observe(self.trainer.callback_metrics["val_loss"])

    inputs = torch.zeros(8, 3)
    loader = DataLoader(TensorDataset(inputs, inputs[:, :1]), batch_size=4)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
        lightning.Trainer(max_epochs=3, accelerator="cpu", **quiet).fit(Module(), loader, loader)
    ours = [str(each.message) for each in told if "monitor" in str(each.message)]
    if silent:
        assert ours == []
        return
    [text] = ours  # once, of three epochs
    assert "\"monitor\": 'val_loss' is given to Lightning" in text
    assert ('"interval": "step"' if schedule.warmup else '"reduce_on_plateau": True') in text


@shapes
def test_hugging_faces_trainer(schedule: Plateau, tmp_path: Path) -> None:
    import transformers

    used: list[float] = []
    several = bool(schedule.warmup)  # datasets to evaluate by, of which one counts
    losses = itertools.chain.from_iterable((loss, *([9.9] if several else [])) for loss in LOSSES)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 1)

        def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            loss = nn.functional.mse_loss(self.layer(x), labels)
            return {"loss": loss if self.training else torch.tensor(next(losses)), "logits": labels}

    class Log(transformers.TrainerCallback):
        def on_pre_optimizer_step(self, *_: Any, optimizer: Any, **__: Any) -> None:
            used.append(optimizer.param_groups[0]["lr"])

    names, model = exported(schedule, "huggingface"), Model()
    arguments = names.get("ARGUMENTS", {"max_steps": STEPS})
    optimizers = (None, None) if "ARGUMENTS" in names else names["optimizers"](model)
    rows = [{"x": torch.zeros(3), "labels": torch.zeros(1)} for _ in range(4 * UPDATES)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        transformers.Trainer(
            model,
            transformers.TrainingArguments(
                output_dir=str(tmp_path),
                per_device_train_batch_size=4,
                per_device_eval_batch_size=len(rows),
                eval_strategy="epoch",
                report_to=[],
                save_strategy="no",
                logging_strategy="no",
                use_cpu=True,
                disable_tqdm=True,
                **({"metric_for_best_model": "a_loss"} if several else {}),
                **arguments,
            ),
            train_dataset=rows,
            eval_dataset={"a": rows, "b": rows} if several else rows,
            callbacks=[Log(), *([names["Observe"]()] if "Observe" in names else [])],
            optimizers=optimizers,
        ).train()
    assert used == pytest.approx(expected(schedule), rel=1e-6)


@pytest.mark.parametrize(
    "target", [pytest.param(target, marks=pytest.mark.needs(*NEEDS[target])) for target in ("keras", "optax")]
)
def test_in_a_process_of_its_own(zygote: Zygote, target: str) -> None:
    losses = [*LOSSES[:5], None, *LOSSES[5:]] if target == "keras" else LOSSES  # of model.fit(validation_freq=...)
    jobs = [
        {
            "target": target,
            "text": export_schedule(config(schedule), target).text,
            "losses": losses,
            "updates": UPDATES,
        }
        for schedule in SHAPES
    ]
    script = Path(__file__).with_name("plateau_frameworks.py")
    printed = zygote.python(script, given=json.dumps(jobs), env={"PEAK": repr(PEAK)})
    for schedule, used in zip(SHAPES, json.loads(printed.splitlines()[-1]), strict=True):
        assert used == pytest.approx(expected(schedule, losses), rel=1e-6)


@pytest.mark.needs("transformers")
@pytest.mark.parametrize(
    ("arguments", "metrics", "seen"),
    [
        ({}, {"eval_loss": 1.0}, 1.0),
        ({}, {"eval_a_loss": 1.0}, None),  # of a dictionary of datasets
        ({"metric_for_best_model": "eval_a_loss"}, {"eval_a_loss": 1.0}, 1.0),
        ({"metric_for_best_model": "a_loss"}, {"eval_b_loss": 1.0}, None),
        ({"metric_for_best_model": "accuracy"}, {"eval_loss": 1.0, "eval_accuracy": 0.9}, 1.0),
    ],
)
def test_what_the_trainer_hands_over(
    arguments: dict[str, Any], metrics: dict[str, float], seen: float | None, tmp_path: Path
) -> None:
    import transformers

    class Scheduler:
        seen = None

        def observe(self, loss: float) -> None:
            self.seen = loss

    given = transformers.TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to=[], **arguments)
    scheduler, callback = Scheduler(), exported(SHAPES[2], "huggingface")["Observe"]()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        callback.on_evaluate(given, None, None, metrics=metrics, lr_scheduler=scheduler)
    assert scheduler.seen == seen
    assert len(told) == (seen is None)


def test_the_frameworks_own_is_used_where_it_cuts_alike() -> None:
    def preset(index: int, target: str) -> str | None:
        return export_schedule(config(SHAPES[index]), target).preset

    assert preset(0, "torch") == preset(0, "lightning") == "ReduceLROnPlateau"
    assert preset(0, "huggingface") == "reduce_lr_on_plateau"
    assert preset(0, "keras") is None  # in relative terms
    assert preset(1, "keras") == "ReduceLROnPlateau"
    assert {preset(2, target) for target in ("torch", "lightning", "huggingface", "keras", "optax")} == {None}


@pytest.mark.parametrize("target", [name for name, exporter in EXPORTERS.items() if exporter.plateau is None])
def test_what_cannot_say_a_plateau_refuses_it(target: str) -> None:
    with pytest.raises(UsageError, match=f"cut by validation losses, which {target} can't say") as caught:
        export_schedule(config(SHAPES[0]), target)
    assert "torch, lightning" in caught.value.hint
