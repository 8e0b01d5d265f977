"""A live torch scheduler as a schedule config."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from lrfinder.config import Evidence, OptimizerConfig, ScheduleConfig
from lrfinder.errors import UsageError
from lrfinder.importing.groups import fastest, ratios
from lrfinder.importing.match import Candidate, check_peak, check_rates, check_updates, match
from lrfinder.importing.recognize import recognized
from lrfinder.importing.torch_schedulers import candidates
from lrfinder.importing.twin import rates_of
from lrfinder.importing.why import why_shape
from lrfinder.scheduler import ConfiguredScheduler
from lrfinder.version import VERSION

# Keys of a param group that say how torch computes the update, or that schedulers leave there.
_NOT_SETTINGS = frozenset({"lr", "foreach", "fused", "capturable", "differentiable", "maximize"})
_CYCLED = frozenset({"momentum", "betas"})  # what OneCycleLR and CyclicLR move while the rate moves


def import_scheduler(scheduler: object, *, steps: int | None, tolerance: float) -> ScheduleConfig:
    """Return the config whose f(t) is the rate that `scheduler` sets for update t; see `lrfinder.import_schedule`."""
    if not isinstance(scheduler, LRScheduler):
        raise UsageError(
            f"expected a scheduler of torch.optim.lr_scheduler, got {type(scheduler).__name__}",
            hint="where a library wraps it, as accelerate does, pass the one inside: scheduler.scheduler",
        )
    name = type(scheduler).__name__
    if isinstance(scheduler, ReduceLROnPlateau):
        raise UsageError(
            f"{name} waits for a metric: no update's rate is known before the run",
            hint="import a schedule of known rates; `lrfinder schedule list` shows which there are",
        )
    length = _length(scheduler, steps)
    columns = rates_of(scheduler, length)
    for group, rates in enumerate(columns):
        check_rates(rates, of=f"{name}, param group {group}")
    lead = fastest(columns)
    check_peak(max(columns[lead]), of=name)
    found = ratios(columns, to=lead, of=name)
    made = match(
        columns[lead], _candidates(scheduler, columns[lead], lead), peak=max(columns[lead]), tolerance=tolerance
    )
    optimizer = OptimizerConfig(
        name=type(scheduler.optimizer).__name__,
        lr=made.peak,
        groups=found if len(found) > 1 else None,
        settings=_settings(scheduler.optimizer),
    )
    why = why_shape(f"torch's {name}", made, _REASONS.get(name, "no named shape has its rates"))
    evidence = Evidence(why=why, torch=torch.__version__, lrfinder=VERSION)
    return ScheduleConfig.model_validate({"optimizer": optimizer, "schedule": made.schedule, "evidence": evidence})


# Why a class comes out as a table, where there is more to say than that no named shape fits.
_REASONS = {
    "SequentialLR": "its parts together are no named shape, whose warm-up is (t + 1) / W of the peak",
    "CosineAnnealingLR": "a named cosine falls once and to its floor: T_max would have to be the run's length",
    "ChainedScheduler": "no named shape is a product of several",
}


def _length(scheduler: LRScheduler, steps: int | None) -> int:
    """Return the updates to import: `steps`, or what a scheduler that knows its own length says."""
    own: int | None = getattr(scheduler, "total_steps", None)
    if isinstance(scheduler, ConfiguredScheduler):
        own = scheduler.schedule.steps
    length = own if steps is None else steps
    if length is None:
        raise UsageError(
            f"{type(scheduler).__name__} doesn't know how long the run is",
            hint="pass steps=T, the updates of the whole run: one for each scheduler.step()",
        )
    check_updates(length)
    if own is not None and length != own:
        raise UsageError(
            f"{type(scheduler).__name__} is made for {own} updates, got steps={steps}", hint="leave steps out"
        )
    return length


def _candidates(scheduler: LRScheduler, rates: list[float], group: int) -> Iterator[Callable[[], Candidate | None]]:
    if isinstance(scheduler, ConfiguredScheduler):
        own = Candidate(peak=float(scheduler.base_lrs[group]), schedule=scheduler.schedule)
        return iter([lambda: own])
    by_class = candidates(scheduler, steps=len(rates), peak=max(rates), group=group)
    return chain(by_class, recognized(rates))


def _settings(optimizer: Optimizer) -> dict[str, Any]:
    """Return the first param group's hyper-parameters, without what a scheduler is moving."""
    group = optimizer.param_groups[0]
    left_out = _NOT_SETTINGS | (_CYCLED if "base_momentum" in group else frozenset())
    settings = {}
    for key in optimizer.defaults:
        value = group.get(key)
        plain = float(value) if isinstance(value, torch.Tensor) and value.numel() == 1 else value
        if key not in left_out and isinstance(plain, bool | int | float | str | tuple):
            settings[key] = plain
    return settings
