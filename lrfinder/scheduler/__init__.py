"""A schedule config at work: the torch scheduler that sets a live optimizer's rates, one class for each need."""

from __future__ import annotations

from torch.optim import Optimizer

from lrfinder.scheduler.configured import ConfiguredScheduler
from lrfinder.scheduler.momentum import MomentumScheduler
from lrfinder.scheduler.plateau import PlateauScheduler
from lrfinder.schedules import Schedule

__all__ = [  # the optimizer for `lrfinder.config`, which may not name torch
    "ConfiguredScheduler",
    "MomentumScheduler",
    "Optimizer",
    "PlateauScheduler",
    "scheduler_class",
]


def scheduler_class(schedule: Schedule) -> type[ConfiguredScheduler]:
    """Return the class that follows `schedule`."""
    if schedule.reads_losses:
        return PlateauScheduler
    return ConfiguredScheduler if schedule.momentum(0) is None else MomentumScheduler
