"""timm: a scheduler of its own if that is exact, else a `Scheduler` that calls f(t); both stepped by update.

timm's warm-up of `warmup_t` updates rises by equal steps from `warmup_lr_init` and reaches the peak one update later,
as this project's does if `warmup_start` is given. Without it, `warmup_t = W - 1` from peak / W has update W - 1 as
the first at the peak, too. What follows begins there, at W - 1, while a decay here begins at W: exact are those of
timm's that may stay at the peak for one update more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lrfinder.config import ScheduleConfig
from lrfinder.export.base import Export, Exporter, comment, factor_of
from lrfinder.export.optimizers import ADDED_REFUSED
from lrfinder.export.pieces import cycles, drops, interval, plain

# A class of timm's, and its keywords as source.
_Call = tuple[str, dict[str, str]]

_UNIT = "After update n = 1, 2, ... call the scheduler's step_update(n); its step(epoch), for epochs, does nothing."
_NUMBERS = "timm sets plain numbers: a rate in a tensor gives way to one, and the tensor stays as it was."
_CHECKED = "Checked with timm 1.0.31, and all but WSDLRScheduler with 1.0.3, update by update."
_OWN = "timm's own class is exact for the updates of the run; past its end it goes on as timm does."
_NEW = "WSDLRScheduler is new in timm 1.0.31."
_NONE = "No class of timm's is this schedule: the one below calls factor(t)."

_PEAKS = '''\
def _set_peaks(optimizer):
    """Give each param group PEAK, and its share of it as lr_scale: timm's warm-up and floor are absolute rates."""
{shares}    for group, share in zip(optimizer.param_groups, shares, strict=True):
        group["lr"] = group["initial_lr"] = PEAK
        group["lr_scale"] = share
'''
_KEPT_SHARES = """\
    groups = optimizer.param_groups
    shares = [float(group.get("initial_lr", group["lr"])) * group.get("lr_scale", 1.0) for group in groups]
    shares = [share / max(shares) if max(shares) else 1.0 for share in shares]
"""
_SCHEDULER = '''\
class FactorScheduler(Scheduler):
    """The rate of update t is the param group's peak times factor(t)."""

    def __init__(self, optimizer):
        super().__init__(optimizer, param_group_field="lr", t_in_epochs=False)
        self.step_update(0)

    def _get_lr(self, t):
        return [peak * factor(t) for peak in self.base_values]
'''
_MAKE = '''\
def make_scheduler(optimizer):
    """Return the scheduler of an optimizer; call its step_update(n) after update n = 1, 2, ..."""
    _set_peaks(optimizer)
    return {call}
'''


def timm(config: ScheduleConfig) -> Export:
    """Return a module with `make_scheduler(optimizer)`."""
    groups = config.optimizer.groups
    shares = ADDED_REFUSED + _KEPT_SHARES if groups is None else f"    shares = {list(groups)}\n"
    peaks = _PEAKS.format(shares=shares)
    peak = f"PEAK = {config.optimizer.lr!r}\n"
    own = _own(plain(config))
    if own is not None:
        name, keywords = own
        listed = "".join(f"        {key}={value},\n" for key, value in {**keywords, "t_in_epochs": "False"}.items())
        call = f"{name}(\n        optimizer,\n{listed}    )"
        notes = [_OWN, _NEW] if name == "WSDLRScheduler" else [_OWN]
        body = f"from timm.scheduler import {name}\n\n{peak}"
    else:
        name, call, notes = None, "FactorScheduler(optimizer)", [_NONE]
        function = factor_of(config)
        body = f"import math\n\nfrom timm.scheduler.scheduler import Scheduler\n\n{peak}\n\n{function}\n\n{_SCHEDULER}"
    text = f"{comment(config, *notes, _UNIT, _NUMBERS, _CHECKED)}\n{body}\n\n{peaks}\n\n{_MAKE.format(call=call)}"
    return Export(text=text, preset=name)


def _own(config: ScheduleConfig) -> _Call | None:
    """Return timm's own scheduler that is this schedule, or None."""
    it: Any = config.schedule
    length = it.steps - it.warmup
    exact: dict[str, Callable[[], _Call | None]] = {
        "constant": lambda: _constant(it),
        "linear": lambda: _fall(it, "linear", length, power=1.0),
        "cosine": lambda: _fall(it, "cosine", length),
        "polynomial": lambda: _polynomial(it),
        "k-decay": lambda: _k_decay(it, length),
        "wsd": lambda: _wsd(it, fall=min(it.cooldown, length), shape=it.shape),
        "step": lambda: _dropping(it),
        "multi-step": lambda: _dropping(it),
        "exponential": lambda: _dropping(it),
        "geometric": lambda: _dropping(it),
        "noam": lambda: _rsqrt(it, timescale=max(it.warmup, 1)) if it.warmup_start is None else None,
        "inverse-sqrt": lambda: None if _again(it) else _rsqrt(it, timescale=it.scale),
        "cosine-restarts": lambda: _restarts(it),
    }
    return exact[it.name]() if it.name in exact else None


def _again(it: Any) -> int:
    """Return the updates at the peak between timm's warm-up and the decay: 0 or 1."""
    return int(it.warmup > 0 and it.warmup_start is None)


def _warmup(it: Any) -> dict[str, str]:
    rise = it.warmup - _again(it)
    start = f"PEAK / {it.warmup}" if it.warmup_start is None else f"{it.warmup_start!r} * PEAK"
    return {"warmup_t": str(rise), "warmup_lr_init": start} if rise else {}


def _prefix(it: Any) -> dict[str, str]:
    """Return the warm-up for the classes whose decay only begins with its end if they are set so."""
    return {**_warmup(it), "warmup_prefix": "True"} if _warmup(it) else {}


def _floor(it: Any) -> dict[str, str]:
    return {"lr_min": f"{it.final!r} * PEAK"}


def _constant(it: Any) -> _Call:
    return "StepLRScheduler", {"decay_t": str(it.steps), "decay_rate": "1.0", **_prefix(it)}


def _fall(it: Any, shape: str, fall: int, *, power: float | None = None) -> _Call:
    """Return a fall of `fall` updates that begins with the decay, where it can be by a class that older timm has."""
    if _again(it) or not fall:
        return _wsd(it, fall=fall, shape=shape, total=fall)
    if shape == "cosine":
        return "CosineLRScheduler", {"t_initial": str(fall), **_floor(it), **_prefix(it)}
    return "PolyLRScheduler", {"t_initial": str(fall), "power": repr(power), **_floor(it), **_prefix(it)}


def _k_decay(it: Any, fall: int) -> _Call | None:
    if _again(it) or not fall:
        return None
    keywords = {"t_initial": str(fall), "k_decay": repr(it.k)}
    return "CosineLRScheduler", {**keywords, **_floor(it), **_prefix(it)}


def _polynomial(it: Any) -> _Call | None:
    if it.cycle or (_again(it) and it.power != 1):
        return None
    return _fall(it, "linear", it.over if it.over is not None else it.steps - it.warmup, power=it.power)


def _wsd(it: Any, *, fall: int, shape: str, total: int | None = None) -> _Call:
    """Return the peak, then a fall over the last `fall` of `total` updates after the warm-up (default: of all)."""
    if not fall:
        return _constant(it)
    length = it.steps - it.warmup if total is None else total
    return "WSDLRScheduler", {
        "t_initial": str(length + _again(it)),
        "decay_t": str(fall),
        **_floor(it),
        "decay_fn": f'"{shape}"',
        **_warmup(it),
    }


def _rsqrt(it: Any, *, timescale: int) -> _Call:
    return "WSDLRScheduler", {
        "t_initial": str(it.steps + 1),
        "decay_t": "1",  # there must be one: it is after the run
        "stable_fn": '"rsqrt"',
        "stable_timescale": str(timescale),
        **_warmup(it),
    }


def _dropping(it: Any) -> _Call | None:
    """Return drops; MultiStepLRScheduler makes those of milestone m at update m - 1, StepLRScheduler at m."""
    shift = 1 + _again(it)
    regular, listed = interval(it), drops(it)
    if regular is not None:
        every, share = regular
        if not _again(it):
            return "StepLRScheduler", {"decay_t": str(every), "decay_rate": repr(share), **_prefix(it)}
        milestones = f"list(range({every + shift}, {it.steps - it.warmup + shift}, {every}))"
    elif listed is not None:
        updates, share = listed
        if 0 in updates and not it.warmup:
            return None  # timm's constructor sets the peak, and is asked for a rate from the second update on
        milestones = str([update + shift for update in updates])
    else:
        return None
    return "MultiStepLRScheduler", {"decay_t": milestones, "decay_rate": repr(share), **_prefix(it)}


def _restarts(it: Any) -> _Call | None:
    if _again(it) or it.growth not in {1, 2} or (it.shrink != 1 and it.final != 0):
        return None
    return "CosineLRScheduler", {
        "t_initial": str(it.first),
        "cycle_mul": repr(it.growth),
        "cycle_decay": repr(it.shrink),
        "cycle_limit": str(cycles(it)[0]),
        **_floor(it),
        **_prefix(it),
    }


EXPORTER = Exporter(title="a timm scheduler", export=timm, groups=True)
