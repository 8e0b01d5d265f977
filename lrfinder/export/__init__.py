"""Schedule configs for other frameworks: one file per target, listed here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from lrfinder.config import ScheduleConfig
from lrfinder.errors import UsageError
from lrfinder.export.axolotl import axolotl
from lrfinder.export.base import TOLERANCE, TOLERANCE_FLOAT32, Export, Exporter
from lrfinder.export.deepspeed import deepspeed
from lrfinder.export.huggingface import huggingface
from lrfinder.export.keras import keras
from lrfinder.export.lightning import lightning
from lrfinder.export.mmengine import mmengine
from lrfinder.export.optax import optax
from lrfinder.export.plateau import (
    plateau_huggingface,
    plateau_keras,
    plateau_lightning,
    plateau_optax,
    plateau_torch,
)
from lrfinder.export.tables import csv, json_table
from lrfinder.export.timm import timm
from lrfinder.export.torch_code import torch_code
from lrfinder.export.torchtune import torchtune

# In the order in which they are listed to people.
EXPORTERS: Mapping[str, Exporter] = MappingProxyType(
    {
        "torch": Exporter(title="a plain torch module", export=torch_code, plateau=plateau_torch),
        "lightning": Exporter(
            title="configure_optimizers of a LightningModule", export=lightning, plateau=plateau_lightning
        ),
        "huggingface": Exporter(
            title="TrainingArguments, or Trainer's optimizers", export=huggingface, plateau=plateau_huggingface
        ),
        "timm": Exporter(title="a timm scheduler", export=timm),
        "deepspeed": Exporter(title="DeepSpeed's JSON, or deepspeed.initialize's lr_scheduler", export=deepspeed),
        "torchtune": Exporter(title="a torchtune recipe's YAML, or a component", export=torchtune),
        "axolotl": Exporter(title="axolotl's YAML, or a plugin", export=axolotl),
        "mmengine": Exporter(title="MMEngine's param_scheduler", export=mmengine),
        "keras": Exporter(title="a Keras 3 LearningRateSchedule", export=keras, plateau=plateau_keras),
        "optax": Exporter(title="an optax schedule", export=optax, plateau=plateau_optax),
        "csv": Exporter(title="a table of every update", export=csv),
        "json": Exporter(title="a table of every update, and the schedule", export=json_table),
    }
)

__all__ = ["EXPORTERS", "TOLERANCE", "TOLERANCE_FLOAT32", "Export", "Exporter", "export_schedule"]


def export_schedule(config: ScheduleConfig, to: str) -> Export:
    """Return the config for another framework.

    Raises UsageError for one that isn't in the table, and for a plateau where the target can't say one.
    """
    if to not in EXPORTERS:
        raise UsageError(f"unknown target {to!r}", hint=f"choose of: {', '.join(EXPORTERS)}")
    if config.batch is not None:
        hint = "`load_schedule(CONFIG).batches(sampler)` drives a DataLoader; remove `batch` to export the decay itself"
        raise UsageError("a growing batch is no schedule of rates: what an update is changes with it", hint=hint)
    chosen = EXPORTERS[to]
    if not config.schedule.reads_losses:
        return chosen.export(config)
    if chosen.plateau is None:
        can = ", ".join(name for name, exporter in EXPORTERS.items() if exporter.plateau is not None)
        message = f"{config.schedule.name} is cut by validation losses, which {to} can't say"
        raise UsageError(message, hint=f"choose of: {can}")
    return chosen.plateau(config)
