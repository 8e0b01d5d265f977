"""A live torch scheduler as a schedule config."""

from __future__ import annotations

from itertools import chain
from typing import Any

import torch
from pydantic import ValidationError
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from lrfinder.config import Evidence, OptimizerConfig, ScheduleConfig
from lrfinder.errors import UsageError
from lrfinder.importing.groups import fastest, ratios
from lrfinder.importing.match import TOLERANCE, check_peak, check_rates, check_updates, match
from lrfinder.importing.plateaus import PlateauArguments, plateau
from lrfinder.importing.recognize import recognized
from lrfinder.importing.torch_schedulers import candidates
from lrfinder.importing.twin import ReplayedRates, held, replay_rates
from lrfinder.importing.why import why_shape
from lrfinder.optimizers import class_name, default_of, is_value, list_in, tells
from lrfinder.scheduler import ConfiguredScheduler
from lrfinder.schedules import Schedule
from lrfinder.version import VERSION

# Keys of a param group that say how torch computes the update, or that schedulers leave there.
_NOT_SETTINGS = frozenset({"lr", "foreach", "fused", "capturable", "differentiable", "maximize"})
_CYCLED = frozenset({"momentum", "betas"})  # what OneCycleLR and CyclicLR move while the rate moves


def import_scheduler(scheduler: object, *, steps: int | None, epoch: int | None, tolerance: float) -> ScheduleConfig:
    """Return the config whose f(t) is the rate that `scheduler` sets for update t; see `lrfinder.import_schedule`."""
    if not isinstance(scheduler, LRScheduler):
        raise UsageError(
            f"expected a scheduler of torch.optim.lr_scheduler, got {type(scheduler).__name__}",
            hint="where a library wraps it, as accelerate does, pass the one inside: scheduler.scheduler",
        )
    if epoch is not None:
        check_updates(epoch, what="epoch")
        if isinstance(scheduler, ConfiguredScheduler | ReduceLROnPlateau):
            raise UsageError(f"{type(scheduler).__name__} isn't stepped for each epoch", hint="leave epoch out")
    if isinstance(scheduler, ConfiguredScheduler):
        return _ours(scheduler, steps)
    if isinstance(scheduler, ReduceLROnPlateau):
        return _plateau(scheduler, steps)
    name = type(scheduler).__name__
    each, own = epoch or 1, getattr(scheduler, "total_steps", None)
    length = _length(scheduler, steps, own=None if own is None else own * each)
    used = held(replay_rates(scheduler, -(-length // each)), each, length)
    for group, rates in enumerate(used.rates):
        check_rates(rates, of=f"{name}, param group {group}")
    lead = fastest(used.rates)
    rates = used.rates[lead]
    check_peak(max(rates), of=name)
    found = ratios(used.rates, to=lead, of=name)
    by_class = candidates(scheduler, steps=len(rates), peak=max(rates), group=lead) if each == 1 else ()
    made = match(rates, chain(by_class, recognized(rates)), peak=max(rates), tolerance=tolerance)
    schedule, left_out = _with_momentum(made.schedule, used)
    reason = _REASONS.get(name, "no named shape has its rates")
    source = f"torch's {name}"
    if each > 1:
        source, reason = f"{source}, stepped every {each} updates", "no named shape holds a rate for so long"
    why = why_shape(source, made, reason)
    moved = used.momentums is not None
    return _config(scheduler, lr=made.peak, groups=found, schedule=schedule, why=why + left_out, moved=moved)


# Why a class comes out as a table, where there is more to say than that no named shape fits.
_REASONS = {
    "SequentialLR": "its parts together are no named shape",
    "CosineAnnealingLR": "a named cosine falls once and to its floor: T_max would have to be the run's length",
    "ChainedScheduler": "no named shape is a product of several",
}


def _ours(scheduler: ConfiguredScheduler, steps: int | None) -> ScheduleConfig:
    """Return the config that our own scheduler follows, from what it was made with."""
    _length(scheduler, steps, own=scheduler.schedule.steps)
    groups = tuple(float(base) / scheduler.peak for base in scheduler.base_lrs)
    why = "imported from a scheduler of lrfinder"
    moved = scheduler.schedule.momentum(0) is not None
    return _config(scheduler, lr=scheduler.peak, groups=groups, schedule=scheduler.schedule, why=why, moved=moved)


def _plateau(scheduler: ReduceLROnPlateau, steps: int | None) -> ScheduleConfig:
    """Return the config whose cuts are those of ReduceLROnPlateau, which has no rates before there are losses."""
    if scheduler.last_epoch:
        raise UsageError(
            f"ReduceLROnPlateau has seen {scheduler.last_epoch} evaluations, and doesn't know the rate it began with",
            hint="import it right after it is made, before its first step()",
        )
    length = _length(scheduler, steps, own=None)
    rates = [float(group["lr"]) for group in scheduler.optimizer.param_groups]
    check_rates(rates, of="ReduceLROnPlateau")
    peak = max(rates)
    check_peak(peak, of="ReduceLROnPlateau")
    plateaus = [
        plateau(_plateau_arguments(scheduler, float(least)), peak=rate, steps=length)
        for rate, least in zip(rates, scheduler.min_lrs, strict=True)
        if rate > 0  # a group that stands still has no cuts
    ]
    if any(other != plateaus[0] for other in plateaus):
        raise UsageError(
            "ReduceLROnPlateau stops at another share of its rate in some param groups: min_lr and eps are no shares",
            hint="give min_lr as a list in proportion to the groups' rates, and eps=0",
        )
    groups = tuple(rate / peak for rate in rates)
    why = "imported from torch's ReduceLROnPlateau: call observe(loss) where step(loss) was called"
    return _config(scheduler, lr=peak, groups=groups, schedule=plateaus[0], why=why, moved=False)


def _plateau_arguments(scheduler: ReduceLROnPlateau, min_lr: float) -> PlateauArguments:
    keys = ("mode", "factor", "patience", "threshold", "threshold_mode", "cooldown", "eps")
    try:
        return PlateauArguments(**{key: getattr(scheduler, key) for key in keys}, min_lr=min_lr)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(
            f"ReduceLROnPlateau's {first['loc'][0]} is {first['input']!r}: {first['msg']}",
            hint="a plateau here takes counts as whole numbers, and shares from 0 to 1",
        ) from None


def _length(scheduler: LRScheduler, steps: int | None, *, own: int | None) -> int:
    """Return the updates to import: `steps`, or `own`, those of a scheduler that knows them."""
    length = own if steps is None else steps
    if length is None:
        raise UsageError(
            f"{type(scheduler).__name__} doesn't know how long the run is",
            hint="pass steps=T, the updates of the whole run: one for each scheduler.step(), or `epoch` of them",
        )
    check_updates(length)
    if own is not None and length != own:
        raise UsageError(
            f"{type(scheduler).__name__} is made for {own} updates, got steps={steps}", hint="leave steps out"
        )
    return length


def _with_momentum(schedule: Schedule, used: ReplayedRates) -> tuple[Schedule, str]:
    """Return the schedule, and what to say of a momentum that the framework moves and it doesn't move alike."""
    if used.momentums is None:
        return schedule, ""
    alike = schedule.momentum(0) is not None and all(
        abs(momentum - (schedule.momentum(t) or 0.0)) <= TOLERANCE
        for column in used.momentums
        for t, momentum in enumerate(column)
    )
    if alike:
        return schedule, ""
    if schedule.momentum(0) is not None:
        schedule = schedule.model_copy(update={"momentums": None})
    return schedule, "; the momentum that it moves is left as the optimizer has it"


def _config(
    scheduler: LRScheduler, *, lr: float, groups: tuple[float, ...], schedule: Schedule, why: str, moved: bool
) -> ScheduleConfig:
    """Return the config; `moved` tells whether the momentum moves, and so is no setting."""
    optimizer = OptimizerConfig(
        name=class_name(scheduler.optimizer),
        lr=lr,
        groups=groups if len(groups) > 1 else None,
        settings=_settings(scheduler.optimizer, _NOT_SETTINGS | (_CYCLED if moved else frozenset())),
    )
    evidence = Evidence(why=why, torch=torch.__version__, lrfinder=VERSION)
    return ScheduleConfig.model_validate({"optimizer": optimizer, "schedule": schedule, "evidence": evidence})


def _settings(optimizer: Optimizer, left_out: frozenset[str]) -> dict[str, Any]:
    """Return the first param group's hyper-parameters, without those that are left out."""
    group, name = optimizer.param_groups[0], class_name(optimizer)
    settings = {}
    for key in optimizer.defaults:
        value = group.get(key)
        plain = float(value) if isinstance(value, torch.Tensor) and value.numel() == 1 else value
        if isinstance(plain, list | tuple) and list_in(str(plain)) and plain != default_of(type(optimizer), key):
            plain = str(plain)
        if key not in left_out and tells(name, key, plain) and is_value(plain):
            settings[key] = plain
    return settings
