"""DeepSpeed: its own scheduler in the JSON config if that is exact, else a function for `deepspeed.initialize`.

DeepSpeed's warm-up schedulers begin at their index -1, for which they have a rate of their own, and so lag one update.
`last_batch_iteration` moves the start: update 0 is then at the optimizer's own rate, which is the peak, and update t at
index t + `last_batch_iteration`. It also takes out the warm-up, which they can't be without.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from lrfinder.config import ScheduleConfig
from lrfinder.export.base import Export, Exporter, head
from lrfinder.export.optimizers import class_of, handed_over, optimizer_data, own_ratios
from lrfinder.export.pieces import plain
from lrfinder.optimizers import TRAITS, decoupled_decay

_OWN = (
    "Exact for the updates of the run where the optimizer is built at lr, as here, and has one rate for everything.",
    "last_batch_iteration takes out DeepSpeed's lag of one update, and the warm-up that its schedulers must have.",
    "DeepSpeed ignores this key.",
)
_OTHER = (
    "No scheduler of DeepSpeed's JSON is this schedule: most have a warm-up that lags by one update. Leave",
    "`scheduler` out of the JSON and pass the function below:",
    "    deepspeed.initialize(..., lr_scheduler=lr_scheduler)",
)
_CHECKED = "Checked with DeepSpeed 0.19.8, update by update; an update that is skipped on overflow doesn't count."
_FUNCTION = '''\
def lr_scheduler(optimizer):
    """Return the scheduler of the optimizer that deepspeed.initialize hands over, and steps after every update."""
    _set_peaks(optimizer)
    return LambdaLR(optimizer, factor)
'''
_LEAST_WARMUP = 2  # updates: DeepSpeed's schedulers raise what is below


def deepspeed(config: ScheduleConfig) -> Export:
    """Return the `optimizer` and `scheduler` of DeepSpeed's JSON, or a module with `lr_scheduler(optimizer)`."""
    own = _own(plain(config)) if own_ratios(config) is None else None
    if own is not None:
        name, keywords = own
        data = {
            "lrfinder": head(config, *_OWN, _CHECKED),
            "optimizer": {"type": class_of(config), "params": _parameters(config)},
            "scheduler": {"type": name, "params": keywords},
        }
        return Export(text=json.dumps(data, indent=2, allow_nan=False) + "\n", preset=name, suffix=".json")
    return Export(text=handed_over(config, [*_OTHER, _CHECKED], _FUNCTION), preset=None)


def _parameters(config: ScheduleConfig) -> dict[str, Any]:
    """Return the optimizer's. DeepSpeed has an Adam of its own, by default an AdamW without weight decay."""
    name, given = class_of(config), optimizer_data(config)
    if name not in {"Adam", "AdamW"}:
        return given
    given.pop("decoupled_weight_decay", None)
    given.setdefault("weight_decay", TRAITS[name].defaults["weight_decay"])
    mode = {"adam_w_mode": decoupled_decay(name, config.optimizer.settings)} if name == "Adam" else {}
    return {**given, **mode}


def _own(config: ScheduleConfig) -> tuple[str, dict[str, Any]] | None:
    """Return the type and the parameters of DeepSpeed's own scheduler that is this schedule, or None."""
    it: Any = config.schedule
    peak, length = config.optimizer.lr, it.steps - it.warmup
    if it.warmup_start is not None:
        return _up_and_down(it, peak, length) if it.name == "linear" else None
    if it.warmup > 1:
        return None  # a warm-up of one update is at the peak throughout
    exact: dict[str, Callable[[], tuple[str, dict[str, Any]] | None]] = {
        "constant": lambda: _constant(peak),
        "linear": lambda: _line(it, peak, over=length),
        "polynomial": lambda: (
            _line(it, peak, over=it.over if it.over is not None else length) if it.power == 1 and not it.cycle else None
        ),
        "cosine": lambda: _cosine(it, peak, over=length),
        "wsd": lambda: _wsd(it, peak, min(it.cooldown, length)),
        "cyclical": lambda: _triangle(it, peak),
    }
    return exact[it.name]() if it.name in exact else None


def _constant(peak: float) -> tuple[str, dict[str, Any]]:
    return "WarmupLR", {"warmup_min_lr": peak, "warmup_max_lr": peak, "warmup_num_steps": _LEAST_WARMUP}


def _line(it: Any, peak: float, *, over: int) -> tuple[str, dict[str, Any]]:
    """Return the fall of WarmupDecayLR, which is at the peak at index 2 and at its `warmup_min_lr` at the end."""
    return "WarmupDecayLR", {
        "total_num_steps": over + _LEAST_WARMUP,
        "warmup_min_lr": it.final * peak,
        "warmup_max_lr": peak,
        "warmup_num_steps": _LEAST_WARMUP,
        "warmup_type": "linear",
        "last_batch_iteration": _LEAST_WARMUP - it.warmup,
    }


def _cosine(it: Any, peak: float, *, over: int) -> tuple[str, dict[str, Any]]:
    """Return WarmupCosineLR after a warm-up from the peak to the peak, whose last index the wave begins at."""
    held = it.steps - over  # the updates at the peak before the wave begins
    if over == 0:
        return _constant(peak)
    flat = max(held + 1, _LEAST_WARMUP)
    return "WarmupCosineLR", {
        "total_num_steps": flat + over,
        "warmup_min_ratio": 1.0,
        "warmup_num_steps": flat,
        "warmup_type": "linear",
        "cos_min_ratio": it.final,
        "last_batch_iteration": flat - 1 - held,
    }


def _wsd(it: Any, peak: float, cooldown: int) -> tuple[str, dict[str, Any]] | None:
    if cooldown == 0:
        return _constant(peak)
    if it.shape == "cosine":
        return _cosine(it, peak, over=cooldown)
    if it.shape == "linear" and cooldown == it.steps - it.warmup:
        return _line(it, peak, over=cooldown)
    return None


def _triangle(it: Any, peak: float) -> tuple[str, dict[str, Any]] | None:
    """Return OneCycle, which doesn't lag, where the run is over with the first triangle."""
    down = it.down if it.down is not None else it.up
    if it.steps - 1 > it.up + down or (it.mode == "exp-range" and it.gamma != 1):
        return None
    return _one_cycle(it.base * peak, peak, up=it.up, down=down)


def _up_and_down(it: Any, peak: float, length: int) -> tuple[str, dict[str, Any]] | None:
    """Return OneCycle, where the decay ends at the rate that the warm-up starts at."""
    if it.final != it.warmup_start or not length:
        return None
    return _one_cycle(it.final * peak, peak, up=it.warmup, down=length)


def _one_cycle(least: float, peak: float, *, up: int, down: int) -> tuple[str, dict[str, Any]]:
    return "OneCycle", {
        "cycle_min_lr": least,
        "cycle_max_lr": peak,
        "cycle_first_step_size": up,
        "cycle_second_step_size": down,
        "cycle_momentum": False,
    }


EXPORTER = Exporter(title="DeepSpeed's JSON, or deepspeed.initialize's lr_scheduler", export=deepspeed, groups=True)
