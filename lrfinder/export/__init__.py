"""Schedule configs for other frameworks: one file for each target. Adding one is its file and its line here.

The files are imported when they are used: the help text needs the names alone.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from lrfinder.errors import UsageError, unknown_choice
from lrfinder.plugins import PluginTable

if TYPE_CHECKING:
    from lrfinder.config import ScheduleConfig
    from lrfinder.export.base import Export, Exporter

# Where each target's Exporter is; in the order in which they are listed to people.
_HOMES: Mapping[str, str] = {
    "torch": "torch_code.EXPORTER",
    "lightning": "lightning.EXPORTER",
    "huggingface": "huggingface.EXPORTER",
    "timm": "timm.EXPORTER",
    "deepspeed": "deepspeed.EXPORTER",
    "torchtune": "torchtune.EXPORTER",
    "axolotl": "axolotl.EXPORTER",
    "mmengine": "mmengine.EXPORTER",
    "keras": "keras.EXPORTER",
    "optax": "optax.EXPORTER",
    "csv": "tables.CSV",
    "json": "tables.JSON",
}


class _Ours(Mapping[str, "Exporter"]):
    """The exporters of `_HOMES`."""

    def __getitem__(self, name: str) -> Exporter:
        module, attribute = _HOMES[name].split(".")
        found: Exporter = getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
        return found

    def __contains__(self, name: object) -> bool:
        return name in _HOMES

    def __iter__(self) -> Iterator[str]:
        return iter(_HOMES)

    def __len__(self) -> int:
        return len(_HOMES)


def _fault(_name: str, found: Any) -> str | None:
    from lrfinder.export.base import Exporter

    return None if isinstance(found, Exporter) else "isn't a lrfinder.export.base.Exporter"


TARGETS = tuple(_HOMES)  # ours
EXPORTERS: Mapping[str, Exporter] = PluginTable("lrfinder.exporters", _Ours(), _fault)


def export_schedule(config: ScheduleConfig, to: str) -> Export:
    """Return the config for another framework.

    Raises UsageError for one that isn't in the table, and for a plateau if the target can't say one.
    """
    if to not in EXPORTERS:
        raise unknown_choice("target", to, EXPORTERS)
    if config.batch is not None:
        hint = "`load_schedule(CONFIG).batches(sampler)` drives a DataLoader; remove `batch` to export the decay itself"
        raise UsageError("a growing batch is no schedule of rates: what an update is changes with it", hint=hint)
    chosen = EXPORTERS[to]
    if not config.schedule.reads_losses:
        return chosen.export(config)
    if chosen.plateau is None:
        can = ", ".join(name for name, exporter in EXPORTERS.items() if exporter.plateau is not None)
        message = f"{config.schedule.name} is cut by validation losses, which {to} can't say"
        raise UsageError(message, hint=f"choose one of: {can}")
    return chosen.plateau(config)
