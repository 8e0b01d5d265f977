"""optax: its own schedule, or several joined, if those are exact, else one that looks f(t) up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lrfinder.config import ScheduleConfig
from lrfinder.export.base import (
    SMALLEST_FLOAT32,
    WHOLE_FLOAT32,
    Export,
    Exporter,
    comment,
    factor_of,
)
from lrfinder.export.optimizers import optax_alias, own_ratios
from lrfinder.export.pieces import cycles, drops, plain, power_in_float32
from lrfinder.export.plateau import plateau_optax
from lrfinder.export.source import literal

_CHECKED = "Checked with optax 0.2.8, JAX 0.10, update by update."

_TABLE = '''\
RATES = jnp.asarray(np.fromiter((PEAK * factor(t) for t in range({entries})), "float64", {entries}))


def schedule(count):
    """Return the rate of update `count` = 0, 1, 2, ...; past the end the last value is held."""
    return RATES[jnp.minimum(count, {last})]
'''
_GROUPS = """
# Of the config's param groups, in order: optax.multi_transform({{"0": {alias}(schedules[0]), ...}}, labels).
RATIOS = {ratios}
schedules = [lambda count, ratio=ratio: ratio * schedule(count) for ratio in RATIOS]
"""
_LOOKED_UP = "No schedule of optax is this one: its rates are looked up."
_MOST = 8  # pieces: optax computes each of them at every update, and more are slow to compile
_PRECISION = "JAX computes in single precision by default: it is equal to within 1e-6 of the peak."


def optax(config: ScheduleConfig) -> Export:
    """Return a module with `schedule`, for what takes a learning_rate in optax."""
    pieces = _pieces(plain(config))
    if pieces is not None and len(pieces) <= _MOST:
        starts, calls = zip(*pieces, strict=True)
        made = f"optax.{calls[0]}"
        if len(calls) > 1:
            listed = "".join(f"        optax.{call},\n" for call in calls)
            made = f"optax.join_schedules(\n    [\n{listed}    ],\n    boundaries={list(starts[1:])},\n)"
        text = f"{comment(config, _PRECISION, _CHECKED)}\nimport optax\n\nschedule = {made}\n{_ratios(config)}"
        return Export(text=text, preset="join_schedules" if len(calls) > 1 else calls[0].split("(", maxsplit=1)[0])
    steps = config.schedule.steps
    text = (
        f"{comment(config, _LOOKED_UP, _PRECISION, _CHECKED)}\nimport math\n\n"
        f"import jax.numpy as jnp\nimport numpy as np\n\nPEAK = {config.optimizer.lr!r}\n\n\n"
        f"{factor_of(config)}\n\n"
        f"{_TABLE.format(entries=steps + 1, last=steps)}{_ratios(config)}"
    )
    return Export(text=text, preset=None)


def _ratios(config: ScheduleConfig) -> str:
    """Return a schedule for each param group as source, if they have ratios of their own."""
    ratios = own_ratios(config)
    return "" if ratios is None else _GROUPS.format(alias=optax_alias(config), ratios=literal(ratios))


def _pieces(config: ScheduleConfig) -> list[tuple[int, str]] | None:
    """Return optax's own schedules that are this one in turn, each with the update it begins at; or None.

    optax.join_schedules counts from 0 again in each, so the warm-up is a line from peak / W that is at the peak with
    update W - 1, and the decay begins with the next; with `warmup_start` the line would be at the peak with update W.
    """
    it: Any = config.schedule
    peak, warmup = config.optimizer.lr, it.warmup
    if it.warmup_start is not None:
        rise = _line(it.warmup_start * peak, peak, warmup)
    else:
        rise = _line(peak / warmup, peak, warmup - 1) if warmup > 1 else _constant(peak)
    if warmup == it.steps:
        return [(0, rise)]
    decay = _decay(it, peak, it.steps - warmup)
    if decay is None:
        return None
    return [(0, rise), *((warmup + start, call) for start, call in decay)] if warmup else decay


def _decay(it: Any, peak: float, length: int) -> list[tuple[int, str]] | None:
    """Return the pieces after the warm-up, each with the update after it that it begins at."""
    single: dict[str, Callable[[], str | None]] = {
        "constant": lambda: _constant(peak),
        "linear": lambda: _line(peak, it.final * peak, length),
        "cosine": lambda: _cosine(peak, length, it.final),
        "polynomial": lambda: (
            f"polynomial_schedule({peak!r}, {it.final * peak!r}, {it.power!r}, transition_steps={it.over or length})"
            if not it.cycle and power_in_float32(it.power, it.over or length)
            else None
        ),
        "exponential": lambda: _exponential(it, peak, it.base, staircase=it.staircase),
        "step": lambda: _exponential(it, peak, it.drop, staircase=True),
        "multi-step": lambda: _drops(it, peak),
        "geometric": lambda: _drops(it, peak),
    }
    if it.name in single:
        call = single[it.name]()
        return None if call is None else [(0, call)]
    if it.name == "wsd":
        return _wsd(it, peak, length)
    return _restarts(it, peak) if it.name == "cosine-restarts" else None


def _constant(peak: float) -> str:
    return f"constant_schedule({peak!r})"


def _line(start: float, end: float, length: int) -> str:
    return f"linear_schedule({start!r}, {end!r}, transition_steps={length})"


def _cosine(start: float, length: int, final: float) -> str:
    return f"cosine_decay_schedule({start!r}, decay_steps={length}, alpha={final!r})"


def _exponential(it: Any, peak: float, share: float, *, staircase: bool) -> str | None:
    if share < SMALLEST_FLOAT32 or (staircase and it.steps > WHOLE_FLOAT32):
        return None
    return f"exponential_decay({peak!r}, transition_steps={it.every}, decay_rate={share!r}, staircase={staircase})"


def _drops(it: Any, peak: float) -> str | None:
    listed = drops(it)
    if listed is None or 0 in listed[0] or len(listed[0]) > _MOST:
        return None  # optax drops after update 0 at the earliest
    scales = {update: listed[1] ** listed[0].count(update) for update in listed[0]}
    return f"piecewise_constant_schedule({peak!r}, {scales})"


def _wsd(it: Any, peak: float, length: int) -> list[tuple[int, str]] | None:
    fall = min(it.cooldown, length)
    shapes = {"linear": _line(peak, it.final * peak, fall), "cosine": _cosine(peak, fall, it.final)}
    if fall == 0:
        return [(0, _constant(peak))]
    if it.shape not in shapes:
        return None
    held = [(0, _constant(peak))] if fall < length else []
    return [*held, (length - fall, shapes[it.shape])]


def _restarts(it: Any, peak: float) -> list[tuple[int, str]] | None:
    count, lengths = cycles(it)
    if lengths is None or count > _MOST:
        return None
    pieces, start = [], 0
    for cycle, each in enumerate(lengths * (count if it.growth == 1 else 1)):
        top = max(it.shrink**cycle, it.final)
        pieces.append((start, _cosine(peak * top, each, it.final / top if top else 0.0)))
        start += each
    return pieces


EXPORTER = Exporter(title="an optax schedule", export=optax, plateau=plateau_optax, groups=True)
