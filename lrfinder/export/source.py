"""A schedule as Python source: a function of the update that needs the standard library alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from lrfinder.schedules import Schedule

_POINTS_A_LINE = 3  # of a table: at 17 digits each that is as wide as the other lines

_HEAD = '''\
def factor(t):
    """Return the rate of update t = 0, 1, 2, ... over the peak: {said}."""
'''


def factor_source(schedule: Schedule, *, said: str) -> str:
    """Return the source of `factor(t)`, equal to `schedule.factor` at every update; it needs `import math`.

    `said` ends its docstring's sentence. Past the end of the run the function holds what the schedule holds.
    """
    lines = []
    warmup, steps = schedule.warmup, schedule.steps
    if warmup:
        lines += [f"if t < {warmup}:", f"    return {rise_source(schedule)}"]
    lines += [f"length = {steps - warmup}", f"u = min(t, {steps}) - {warmup}"]
    lines += _DECAYS[schedule.name](schedule)
    return _HEAD.format(said=said) + "".join(f"    {line}\n" if line else "\n" for line in lines)


def rise_source(schedule: Schedule) -> str:
    """Return the factor of update `t` of the warm-up as an expression."""
    start = schedule.warmup_start
    if start is None:
        return f"(t + 1) / {schedule.warmup}"
    return f"{start!r} + {1 - start!r} * t / {schedule.warmup}" if start else f"t / {schedule.warmup}"


def _linear(it: Any) -> list[str]:
    return [f"return {it.final!r} + {1 - it.final!r} * (1 - (u / length if length else 0.0))"]


def _cosine(it: Any) -> list[str]:
    return [
        "x = u / length if length else 0.0",
        f"return {it.final!r} + {1 - it.final!r} * (1 + math.cos(math.pi * x)) / 2",
    ]


def _constant(it: Any) -> list[str]:  # noqa: ARG001 - it has no parameters
    return ["return 1.0"]


def _step(it: Any) -> list[str]:
    return [f"return {it.drop!r} ** (min(u, max(length - 1, 0)) // {it.every})"]


def _multi_step(it: Any) -> list[str]:
    return [
        "u = min(u, max(length - 1, 0))",
        f"return {it.drop!r} ** sum(milestone <= u for milestone in {list(it.milestones)})",
    ]


def _geometric(it: Any) -> list[str]:
    return [
        "phases = max(1, length.bit_length() - 1)",
        "phase = min(phases - 1, u * phases // length) if length else 0",
        f"return 0.5 ** (phase + {int(it.halved_first)})",
    ]


def _exponential(it: Any) -> list[str]:
    if it.staircase:
        return [f"return {it.base!r} ** (min(u, max(length - 1, 0)) // {it.every})"]
    return [f"return {it.base!r} ** (u / {it.every})"]


def _time_based(it: Any) -> list[str]:
    if not it.compounded:
        return [f"return 1 / (1 + {it.rate!r} * (u // {it.every}))"]
    return [
        "product = 1.0",
        f"for i in range(1, u // {it.every} + 1):",
        f"    product /= 1 + {it.rate!r} * i",
        "    if product == 0:",
        "        break",
        "return product",
    ]


def _inverse_sqrt(it: Any) -> list[str]:
    return [f"return math.sqrt({it.scale} / (u + {it.scale}))"]


def _noam(it: Any) -> list[str]:
    return [f"return min(1.0, math.sqrt({max(it.warmup, 1)} / (u + {it.warmup + 1})))"]


def _rex(it: Any) -> list[str]:  # noqa: ARG001 - it has no parameters
    return ["x = u / length if length else 0.0", "return (1 - x) / (1 - x / 2)"]


def _wsd(it: Any) -> list[str]:
    fallen = {"1-sqrt": "math.sqrt(x)", "linear": "x", "cosine": "(1 - math.cos(math.pi * x)) / 2"}[it.shape]
    return [
        f"cooldown = min({it.cooldown}, length)",
        "if u < length - cooldown or cooldown == 0:",
        "    return 1.0",
        "x = (u - (length - cooldown)) / cooldown",
        f"return {it.final!r} + {1 - it.final!r} * (1 - {fallen})",
    ]


def _polynomial(it: Any) -> list[str]:
    lines = [f"n = {it.over if it.over is not None else 'max(length, 1)'}"]
    if it.cycle:
        lines += ["u = min(u, max(length - 1, 0))", "n *= max(1, math.ceil(u / n))"]
    return [*lines, f"return {it.final!r} + {1 - it.final!r} * (1 - min(u, n) / n) ** {it.power!r}"]


def _k_decay(it: Any) -> list[str]:
    return [
        "x = u / length if length else 0.0",
        f"return {it.final!r} + {1 - it.final!r} * (1 + math.cos(math.pi * x ** {it.k!r})) / 2",
    ]


def _tanh(it: Any) -> list[str]:
    return [
        "x = u / length if length else 0.0",
        f"above = (1 - math.tanh({it.lower!r} + {it.upper - it.lower!r} * x)) / (1 - math.tanh({it.lower!r}))",
        f"return {it.floor!r} + {1 - it.floor!r} * above",
    ]


def _slanted_triangular(it: Any) -> list[str]:
    fall = f"p = (length - u) / {it.steps - it.cut}"
    rise = [f"p = u / {it.cut} if u < {it.cut} else {fall.removeprefix('p = ')}"] if it.cut else [fall]
    return [*rise, f"return (1 + p * {it.ratio - 1!r}) / {it.ratio!r}"]


def _cosine_restarts(it: Any) -> list[str]:
    first, growth = it.first, it.growth
    if growth == 1:
        find = [f"cycle, behind = divmod(u, {first})"]
    else:
        more = growth - 1
        find = [
            "def start(cycle):",
            f"    return round({first} * math.expm1(cycle * math.log1p({more!r})) / {more!r}, 6)",
            f"cycle = int(math.log1p(u * {more!r} / {first}) / math.log({growth!r}))",
            "while start(cycle + 1) <= u:",
            "    cycle += 1",
            "while start(cycle) > u:",
            "    cycle -= 1",
            "behind = u - start(cycle)",
        ]
    return [
        "u = min(u, max(length - 1, 0))",
        *find,
        f"top = max({it.shrink!r} ** cycle, {it.final!r})",
        f"wave = (1 + math.cos(math.pi * behind / ({first} * {growth!r} ** cycle))) / 2",
        f"return {it.final!r} + (top - {it.final!r}) * wave",
    ]


def _one_cycle(it: Any) -> list[str]:
    ease = "x" if it.anneal == "linear" else "(1 - math.cos(math.pi * x)) / 2"
    return [
        "if u >= length - 1:",
        f"    return {it.final!r}",
        f"peak = {it.rise!r} * length - 1",
        "if u <= peak:",
        "    x = u / peak if peak else 1.0",
        f"    return {it.start!r} + {1 - it.start!r} * ({ease})",
        "x = (u - peak) / (length - 1 - peak)",
        f"return 1 + {it.final - 1!r} * ({ease})",
    ]


def _cyclical(it: Any) -> list[str]:
    down = it.down if it.down is not None else it.up
    scale = {"triangular": "1.0", "triangular2": "0.5 ** cycle", "exp-range": f"{it.gamma!r} ** u"}[it.mode]
    return [
        "u = min(u, max(length - 1, 0))",
        f"cycle, behind = divmod(u, {it.up + down})",
        f"height = behind / {it.up} if behind <= {it.up} else 1 - (behind - {it.up}) / {down}",
        f"return {it.base!r} + {1 - it.base!r} * height * {scale}",
    ]


def _table(it: Any) -> list[str]:
    lines = [
        "from bisect import bisect_right",
        "",
        "points = (",  # of tuples: Python keeps it as one constant
        *(
            f"    {', '.join(map(repr, it.points[i : i + _POINTS_A_LINE]))},"
            for i in range(0, len(it.points), _POINTS_A_LINE)
        ),
        ")",
        "behind = bisect_right(points, u, key=lambda point: point[0])",
        "i, a = points[behind - 1]",
    ]
    if it.between == "hold":
        return [*lines, "return a"]
    return [
        *lines,
        "if behind == len(points):",
        "    return a",
        "j, b = points[behind]",
        "return a + (b - a) * ((u - i) / (j - i))",
    ]


# Each shape's decay as statements over `u`, updates after the warm-up, and `length`, the updates of the whole decay.
_DECAYS: Mapping[str, Callable[[Any], list[str]]] = MappingProxyType(
    {
        "linear": _linear,
        "cosine": _cosine,
        "constant": _constant,
        "step": _step,
        "multi-step": _multi_step,
        "geometric": _geometric,
        "exponential": _exponential,
        "time-based": _time_based,
        "inverse-sqrt": _inverse_sqrt,
        "noam": _noam,
        "rex": _rex,
        "wsd": _wsd,
        "polynomial": _polynomial,
        "k-decay": _k_decay,
        "tanh": _tanh,
        "slanted-triangular": _slanted_triangular,
        "cosine-restarts": _cosine_restarts,
        "one-cycle": _one_cycle,
        "cyclical": _cyclical,
        "table": _table,
    }
)
