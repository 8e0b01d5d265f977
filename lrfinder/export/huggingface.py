"""Hugging Face's Trainer: its own `lr_scheduler_type` if that is exact, else the `optimizers` argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lrfinder.config import ScheduleConfig
from lrfinder.export.base import Export, Exporter, comment, factor_of
from lrfinder.export.optimizers import (
    NO_ARGUMENTS,
    groups_source,
    optimizer_import,
    optimizer_source,
    trainer_optimizer,
    trainers_parameters,
)
from lrfinder.export.pieces import plain
from lrfinder.export.plateau import plateau_huggingface

_CHECKED = "Checked with transformers 5.24, update by update."

_OPTIMIZERS = '''\
def optimizers({given}):
    """Return what Trainer(..., optimizers=optimizers({given})) takes; set max_steps={steps} in TrainingArguments."""
    optimizer = {optimizer}
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
'''
_WHY = "lr_scheduler_type can't say it: their warm-up begins at 0, which spends the first update on nothing."
_NONE = "No lr_scheduler_type is this schedule."


def huggingface(config: ScheduleConfig) -> Export:
    """Return a module with `ARGUMENTS`, for TrainingArguments(**ARGUMENTS), or with `optimizers(model)`."""
    schedule = config.schedule
    preset, optimizer = trainer_schedule(plain(config)), trainer_optimizer(config)
    if preset is not None and optimizer is not None:
        name, keywords = preset
        arguments = {
            "learning_rate": config.optimizer.lr,
            "lr_scheduler_type": name,
            **({"lr_scheduler_kwargs": keywords} if keywords else {}),
            "warmup_steps": schedule.warmup,
            "max_steps": schedule.steps,
            **optimizer,
        }
        lines = "".join(f"    {key!r}: {value!r},\n" for key, value in arguments.items())
        note = "For TrainingArguments(**ARGUMENTS, ...); exact for the updates of the run."
        return Export(text=f"{comment(config, note, _CHECKED)}\nARGUMENTS = {{\n{lines}}}\n", preset=name)
    why = _WHY if schedule.warmup and schedule.warmup_start is None else _NONE if preset is None else NO_ARGUMENTS
    text = (
        f"{comment(config, why, _CHECKED)}\nimport math\n\nimport torch\n{optimizer_import(config)}\n"
        f"PEAK = {config.optimizer.lr!r}\n\n\n{factor_of(config)}\n\n"
        + groups_source(config)
        + _OPTIMIZERS.format(
            optimizer=optimizer_source(config, "model.parameters()", "groups"),
            given=trainers_parameters(config),
            steps=schedule.steps,
        )
    )
    return Export(text=text, preset=None)


def trainer_schedule(config: ScheduleConfig) -> tuple[str, dict[str, Any]] | None:
    """Return the name and keywords of transformers' own schedule that is this one, or None.

    Its warm-up is t / W, from 0; that of warmup_stable_decay is from the floor.
    """
    it: Any = config.schedule
    peak, length = config.optimizer.lr, it.steps - it.warmup
    if it.warmup and it.warmup_start != (it.final if it.name == "wsd" and it.cooldown and length else 0):
        return None
    constant: tuple[str, dict[str, Any]] = ("constant_with_warmup" if it.warmup else "constant", {})
    exact: dict[str, Callable[[], tuple[str, dict[str, Any]] | None]] = {
        "constant": lambda: constant,
        "linear": lambda: ("linear", {}) if it.final == 0 else None,
        "cosine": lambda: ("cosine", {}) if it.final == 0 else ("cosine_with_min_lr", {"min_lr_rate": it.final}),
        "inverse-sqrt": lambda: ("inverse_sqrt", {} if it.timescale is None else {"timescale": it.timescale}),
        "polynomial": lambda: (
            ("polynomial", {"lr_end": it.final * peak, "power": it.power})
            if it.over is None and not it.cycle and it.final < 1 and length  # at T it divides by the decay's length
            else None
        ),
        "wsd": lambda: _wsd(it, length) if it.cooldown and length else constant,
    }
    return exact[it.name]() if it.name in exact else None


def _wsd(it: Any, length: int) -> tuple[str, dict[str, Any]]:
    """Return warmup_stable_decay, whose floor is the start of its warm-up as well."""
    return "warmup_stable_decay", {
        "num_decay_steps": min(it.cooldown, length),
        "decay_type": it.shape,
        "min_lr_ratio": it.final,
    }


EXPORTER = Exporter(
    title="TrainingArguments, or Trainer's optimizers", export=huggingface, plateau=plateau_huggingface, groups=True
)
