"""What every exporter gives, and the comment that each of its outputs begins with."""

from __future__ import annotations

import hashlib
import json
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

from lrfinder.config import ScheduleConfig
from lrfinder.export.source import factor_source, setting
from lrfinder.version import VERSION

NO_MOMENTUM = "The config moves the momentum too: this file doesn't, and leaves it as the optimizer has it."

SMALLEST_FLOAT32 = 2.0**-126  # single precision takes less for 0
WHOLE_FLOAT32 = 2**24  # updates: single precision no longer tells a later one from the next


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A config for another framework: the file's `text`, and the framework's own class or name, if it is exact.

    `preset` is None if a function or a table says it instead. `suffix` is what the file's name should end in.
    `left_out` says what of the config the file doesn't have, a sentence for each.
    """

    text: str
    preset: str | None
    suffix: str = ".py"
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporter:
    """A target: what it gives, and the functions that do; `plateau` is None if it has none.

    `groups` tells whether it gives param groups rates of their own, or says itself that it leaves them out: without it
    a config that has such groups is refused. `momentum` tells whether it moves the momentum too; else that is said.
    """

    title: str
    export: Callable[[ScheduleConfig], Export]
    plateau: Callable[[ScheduleConfig], Export] | None = None
    groups: bool = False
    momentum: bool = False


def comment(config: ScheduleConfig, *notes: str) -> str:
    """Return the head of a Python file: what the schedule is, its unit, its warm-up, its end, and `notes`."""
    return "".join(f"# {line}\n" for line in head(config, *notes))


def head(config: ScheduleConfig, *notes: str) -> list[str]:
    """Return the lines of `comment`, for files whose comments look otherwise."""
    schedule = config.schedule
    lines = [
        f"Learning-rate schedule by lrfinder {VERSION}: {describe_schedule(config)}.",
        "f(t) is the rate that update t = 0, 1, 2, ... uses. An update is one step of the optimizer, whatever was",
        "accumulated for it.",
    ]
    if schedule.warmup:
        first = schedule.factor(0)
        rising = "(t + 1)" if schedule.warmup_start is None else f"{first:g} + {1 - first:g} t" if first else "t"
        lines.append(
            f"The warm-up is {rising} / {schedule.warmup} of the peak: the first update is at {first:.3g} of it"
            f"{', not at 0' if first else ''}."
        )
    if schedule.momentum(0) is not None:
        lines.append(NO_MOMENTUM)
    settings = ", ".join(f"{key}={setting(value)}" for key, value in config.optimizer.settings.items())
    found = f"The rate is for {config.optimizer.name}{f' with {settings}' if settings else ''}."
    return [*lines, *textwrap.wrap(found, 115), *notes]


def digest(config: ScheduleConfig) -> str:
    """Return letters that no other f(t) has: for what is registered by name, so that nothing else takes its place."""
    text = json.dumps([config.optimizer.lr, config.as_data()["schedule"]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def factor_of(config: ScheduleConfig) -> str:
    """Return the source of `factor(t)`, which needs `import math`."""
    return factor_source(config.schedule, said=describe_schedule(config))


def describe_schedule(config: ScheduleConfig) -> str:
    """Return the schedule in words: "linear from 0.003, warm-up 50 of 1000 updates"."""
    schedule = config.schedule
    length = f"{schedule.steps} updates"
    length = f"warm-up {schedule.warmup} of {length}" if schedule.warmup else length
    return f"{schedule.name}, peak {config.optimizer.lr!r}, {length}"
