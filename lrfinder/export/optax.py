"""optax: its own schedule where that is exact, else one that looks f(t) up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lrfinder.config import ScheduleConfig
from lrfinder.export.base import Export, comment, said
from lrfinder.export.source import factor_source

_CHECKED = "Checked with optax 0.2.8, JAX 0.10, update by update."

_TABLE = '''\
RATES = jnp.asarray([PEAK * factor(t) for t in range({entries})])


def schedule(count):
    """Return the rate of update `count` = 0, 1, 2, ...; past the end the last value is held."""
    return RATES[jnp.minimum(count, {last})]
'''
_LOOKED_UP = "No schedule of optax is this one: its rates are looked up."
_PRECISION = "JAX reckons in single precision unless told otherwise: it is equal to within 1e-6 of the peak."


def optax(config: ScheduleConfig) -> Export:
    """Return a module with `schedule`, for optax.adamw(learning_rate=schedule) and the like."""
    preset = None if config.schedule.warmup else _preset(config)
    if preset is not None:
        text = f"{comment(config, _PRECISION, _CHECKED)}\nimport optax\n\nschedule = optax.{preset}\n"
        return Export(text=text, preset=preset.split("(", maxsplit=1)[0])
    steps = config.schedule.steps
    text = (
        f"{comment(config, _LOOKED_UP, _PRECISION, _CHECKED)}\nimport math\n\n"
        f"import jax.numpy as jnp\n\nPEAK = {config.optimizer.lr!r}\n\n\n"
        f"{factor_source(config.schedule, said=said(config))}\n\n{_TABLE.format(entries=steps + 1, last=steps)}"
    )
    return Export(text=text, preset=None)


def _preset(config: ScheduleConfig) -> str | None:
    """Return the call of optax's own schedule that is this one without a warm-up, or None."""
    it: Any = config.schedule
    peak, steps = config.optimizer.lr, config.schedule.steps
    exact: dict[str, Callable[[], str | None]] = {
        "constant": lambda: f"constant_schedule({peak!r})",
        "linear": lambda: f"linear_schedule({peak!r}, {it.final * peak!r}, transition_steps={steps})",
        "cosine": lambda: f"cosine_decay_schedule({peak!r}, decay_steps={steps}, alpha={it.final!r})",
        "polynomial": lambda: (
            f"polynomial_schedule({peak!r}, {it.final * peak!r}, {it.power!r}, transition_steps={it.over or steps})"
            if not it.cycle
            else None
        ),
        "exponential": lambda: (
            f"exponential_decay({peak!r}, transition_steps={it.every}, decay_rate={it.base!r}, "
            f"staircase={it.staircase})"
        ),
    }
    return exact[it.name]() if it.name in exact else None
