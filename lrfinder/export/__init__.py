"""Schedule configs for other frameworks: one file for each target. Adding one is its file and its line here.

The files are imported when they are used: the help text needs the names alone.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
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

    Raises UsageError for one that isn't in the table, and for a plateau or ratios of param groups if the target can't
    say them.
    """
    if to not in EXPORTERS:
        raise unknown_choice("target", to, EXPORTERS)
    if config.batch is not None:
        hint = "`load_schedule(CONFIG).batches(sampler)` drives a DataLoader; remove `batch` to export the decay itself"
        raise UsageError("a growing batch is no schedule of rates: what an update is changes with it", hint=hint)
    from lrfinder.export.base import NO_MOMENTUM
    from lrfinder.export.optimizers import own_ratios
    from lrfinder.export.source import refuse_two_of_a_name

    chosen = EXPORTERS[to]
    ratios, reads_losses = own_ratios(config), config.schedule.reads_losses

    def write(exporter: Exporter) -> Callable[[ScheduleConfig], Export] | None:
        able = ratios is None or exporter.groups
        return (exporter.plateau if reads_losses else exporter.export) if able else None

    found = write(chosen)
    if found is None:
        what = f"{config.schedule.name} is cut by validation losses"
        if ratios is not None and not chosen.groups:
            what = f"the config's param groups have the ratios {list(ratios)}"
        can = ", ".join(name for name, exporter in EXPORTERS.items() if write(exporter))
        raise UsageError(f"{what}, which {to} can't say", hint=f"choose one of: {can}")
    made = found(config)
    if to in TARGETS and made.suffix == ".py":
        refuse_two_of_a_name(made.text)
    if config.schedule.momentum(0) is None or chosen.momentum:
        return made
    return replace(made, left_out=(NO_MOMENTUM, *made.left_out))
