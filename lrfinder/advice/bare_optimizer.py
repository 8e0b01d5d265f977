"""An optimizer and its settings as a config, if there is none yet: what isn't given is torch's default."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from lrfinder.config import OptimizerConfig, ScheduleConfig
from lrfinder.errors import UsageError
from lrfinder.optimizers import TRAITS
from lrfinder.schedules import Constant, Linear
from lrfinder.schedules.base import MAX_STEPS

# Of the optimizers of torch that have a rate to explain.
TORCH_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    name: traits.defaults for name, traits in TRAITS.items() if traits.defaults
}


def bare_config(
    optimizer: str, *, lr: float | None, steps: int | None, warmup: int, given: Mapping[str, Any]
) -> ScheduleConfig:
    """Return a config of the optimizer called `optimizer` (in any case) at rate `lr`, with the settings in `given`.

    With `steps` its schedule is linear to zero; without, it is constant for no longer than its warm-up, so that only
    facts that need no length may be read from it. Raises UsageError for an unknown name or setting, or a bad value.
    """
    name = _known(optimizer)
    defaults = TORCH_DEFAULTS[name]
    for key, value in given.items():
        if key not in defaults:
            takers = ", ".join(taker for taker, its in TORCH_DEFAULTS.items() if key in its)
            raise UsageError(f"{name} takes no {key.replace('_', ' ')}", hint=f"these optimizers do: {takers}")
        _check(key, value)
    rate = defaults["lr"] if lr is None else lr
    if not 0 < rate < float("inf"):
        raise UsageError(f"lr must be a number above 0, got {rate:g}")
    if not 0 <= warmup <= MAX_STEPS:
        raise UsageError(f"warmup must be from 0 to {MAX_STEPS}, got {warmup}")
    if steps is not None and not max(1, warmup) <= steps <= MAX_STEPS:
        raise UsageError(f"steps must be at least 1 and warmup ({warmup}), and at most {MAX_STEPS}, got {steps}")
    schedule = Constant(steps=max(1, warmup), warmup=warmup) if steps is None else Linear(steps=steps, warmup=warmup)
    settings = {key: value for key, value in {**defaults, **given}.items() if key != "lr"}
    return ScheduleConfig(optimizer=OptimizerConfig(name=name, lr=rate, settings=settings), schedule=schedule)


def parse_betas(text: str) -> tuple[float, float]:
    """Return the two numbers in a text such as "0.9,0.999"; raise UsageError if it holds anything else."""
    try:
        first, second = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"betas must be two numbers, got {text!r}", hint="e.g. --betas 0.9,0.999") from None
    return first, second


def _known(optimizer: str) -> str:
    by_plain_name = {name.lower(): name for name in TORCH_DEFAULTS}
    if optimizer.lower() not in by_plain_name:
        near = difflib.get_close_matches(optimizer.lower(), by_plain_name, n=1)
        guess = f"did you mean {by_plain_name[near[0]]}? " if near else ""
        raise UsageError(
            f"nothing is known of an optimizer {optimizer!r}", hint=f"{guess}Known: {', '.join(TORCH_DEFAULTS)}"
        )
    return by_plain_name[optimizer.lower()]


def _check(key: str, value: Any) -> None:
    """Raise UsageError for a share that isn't in [0, 1), or a decay below 0."""
    values = value if isinstance(value, tuple) else (value,)
    most = float("inf") if key == "weight_decay" else 1.0
    if not all(0 <= item < most for item in values):
        bounds = "at least 0" if key == "weight_decay" else "at least 0 and below 1"
        raise UsageError(f"{key.replace('_', ' ')} must be {bounds}, got {', '.join(f'{item:g}' for item in values)}")
