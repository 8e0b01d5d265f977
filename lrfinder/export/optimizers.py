"""The config's optimizer as source, and as data."""

from __future__ import annotations

from typing import Any

from lrfinder.config import ScheduleConfig
from lrfinder.errors import UsageError
from lrfinder.optimizers import SEVERAL, TRAITS

_PEAKS = '''\
def _set_peaks(optimizer):
    """Scale the param groups' rates so that the fastest one's peak is PEAK."""
    rates = [float(group.get("initial_lr", group["lr"])) for group in optimizer.param_groups]
    largest = max(rates)
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = group["initial_lr"] = PEAK * (rate / largest)
'''
_GIVEN_PEAKS = '''\
def _set_peaks(optimizer):
    """Give each param group its peak: PEAK times its ratio."""
    for group, ratio in zip(optimizer.param_groups, {ratios}, strict=True):
        group["lr"] = group["initial_lr"] = PEAK * ratio
'''


def optimizer_source(config: ScheduleConfig, parameters: str) -> str:
    """Return the call that makes the optimizer at the peak rate, with the settings that the rate was found with."""
    settings = "".join(f", {key}={value!r}" for key, value in config.optimizer.settings.items())
    return f"{optimizer_path(config)}({parameters}, lr=PEAK{settings})"


def class_of(config: ScheduleConfig) -> str:
    """Return the name of the optimizer's class; raise UsageError if the config is of several optimizers."""
    name = config.optimizer.name
    if SEVERAL in name:
        hint = "`--to torch` writes the schedule alone, for optimizers that you make"
        raise UsageError(f"the config is of several optimizers, {name}, and this target makes one", hint=hint)
    return name


def optimizer_path(config: ScheduleConfig) -> str:
    """Return where the optimizer is imported from: torch.optim.AdamW; the bare name of one that isn't torch's."""
    name = class_of(config)
    return f"torch.optim.{name}" if name in TRAITS else name  # any other one is the user's own


def optimizer_data(config: ScheduleConfig) -> dict[str, Any]:
    """Return the optimizer's peak rate and settings as plain data."""
    optimizer = config.as_data()["optimizer"]
    return {"lr": optimizer["lr"], **optimizer.get("settings", {})}


def has_groups(config: ScheduleConfig) -> bool:
    """Tell whether the config gives several param groups rates of their own, which files without code can't."""
    return len(config.optimizer.groups or ()) > 1


def peaks_source(config: ScheduleConfig) -> str:
    """Return the source of `_set_peaks(optimizer)`, which treats param groups as `ScheduleConfig.scheduler` does."""
    groups = config.optimizer.groups
    return _PEAKS if groups is None else _GIVEN_PEAKS.format(ratios=list(groups))
