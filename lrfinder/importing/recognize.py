"""Which named shape a list of rates is, where nothing but the rates is known: a function that somebody wrote."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import pairwise
from types import MappingProxyType
from typing import Any

from lrfinder.importing.match import Candidate, shape
from lrfinder.schedules.base import MAX_STEPS

_DIGITS = (3, 6)  # a parameter that people wrote has few: 0.1 comes out of the rates as 0.09999999999999998
_MOST_DROPS = 100  # a list of drops that people wrote is shorter

Factors = list[float]
# Each shape's parameters, solved for from the factors h[0], h[1], ..., h[D - 1] after the warm-up (h[0] is the peak's
# own in most). Wrong guesses are found out by the comparison with every rate.
Solver = Callable[[Factors], list[dict[str, Any]]]


def recognized(rates: list[float]) -> Iterator[Callable[[], Candidate | None]]:
    """Return the shapes without cycles that `rates` may be, by their first, their last and their changes.

    A warm-up of (t + 1) / W is known by its first rate, one that starts elsewhere by its second one, too. Where there
    is none, the first update may still be one.
    """
    peak = max(rates)
    factors = [rate / peak for rate in rates]
    for rise in _rises(factors):
        if rise["warmup"] > len(rates):
            continue
        after = factors[rise["warmup"] :]
        for name, solve in _SOLVERS.items():
            for parameters in _guesses(solve, after):
                yield partial(_candidate, peak, name, steps=len(rates), **rise, **parameters)


def _rises(factors: Factors) -> list[dict[str, Any]]:
    """Return the warm-ups that the first two factors may be part of, ours before those that start elsewhere."""
    first = factors[0]
    if first == 1:
        return [{"warmup": 0}, {"warmup": 1}]
    # Below 1e-7 no run is long enough for a warm-up of ours.
    rises: list[dict[str, Any]] = [{"warmup": round(1 / first)}] if first > 1e-7 else [{"warmup": 0}]  # noqa: PLR2004
    rate = factors[1] - first  # there is a second one: the first of a single one is the largest
    if rate * MAX_STEPS > 1 - first:
        starts = dict.fromkeys((*(_rounded(first, digits) for digits in _DIGITS), first))
        rises += [{"warmup": round((1 - start) / rate), "warmup_start": start} for start in starts]
    return rises


def _candidate(peak: float, name: str, **parameters: Any) -> Candidate | None:
    made = shape(name, **parameters)
    return None if made is None else Candidate(peak=peak, schedule=made)


def _guesses(solve: Solver, after: Factors) -> Iterator[dict[str, Any]]:
    """Return each solution with its numbers rounded to few digits first, and then as it is."""
    try:
        solutions = solve(after)
    except (
        ArithmeticError,
        ValueError,
        IndexError,
        StopIteration,
    ):  # rates that are no such shape: a logarithm of 0, say
        return
    for solution in solutions:
        if any(isinstance(value, float) for value in solution.values()):
            for digits in _DIGITS:
                yield {key: _rounded(value, digits) for key, value in solution.items()}
        yield solution


def _rounded(value: Any, digits: int) -> Any:
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


def _alone(h: Factors) -> list[dict[str, Any]]:  # noqa: ARG001 - these shapes have no parameters
    return [{}]


def _linear(h: Factors) -> list[dict[str, Any]]:
    length = len(h)
    return [{"final": _floor(h[-1], 1 / length)}]


def _cosine(h: Factors) -> list[dict[str, Any]]:
    length = len(h)
    return [{"final": _floor(h[-1], (1 + math.cos(math.pi * (length - 1) / length)) / 2)}]


def _floor(value: float, left: float) -> float:
    """Solve value = final + (1 - final) * left for final; rounding below 0 is 0."""
    final = (value - left) / (1 - left)
    return 0.0 if abs(final) < 1e-12 else final  # noqa: PLR2004 - the rounding of a sum of ones


def _wsd(h: Factors) -> list[dict[str, Any]]:
    below = next(u for u, factor in enumerate(h) if factor < 1)
    cooldown = len(h) - below + 1
    x = (cooldown - 1) / cooldown
    left = {"1-sqrt": 1 - math.sqrt(x), "linear": 1 - x, "cosine": (1 + math.cos(math.pi * x)) / 2}
    return [{"cooldown": cooldown, "shape": kind, "final": _floor(h[-1], share)} for kind, share in left.items()]


def _polynomial(h: Factors) -> list[dict[str, Any]]:
    u = len(h) // 2  # in the middle both logarithms are far from 0
    return [{"power": math.log(h[u]) / math.log(1 - u / len(h))}]


def _k_decay(h: Factors) -> list[dict[str, Any]]:
    u = len(h) // 2
    return [{"k": math.log(math.acos(2 * h[u] - 1) / math.pi) / math.log(u / len(h))}]


def _exponential(h: Factors) -> list[dict[str, Any]]:
    return [{"factor": h[-1] ** (1 / (len(h) - 1))}]


def _time_based(h: Factors) -> list[dict[str, Any]]:
    return [{"rate": (1 / h[-1] - 1) / (len(h) - 1)}]


def _inverse_sqrt(h: Factors) -> list[dict[str, Any]]:
    return [{"timescale": round((len(h) - 1) * h[-1] ** 2 / (1 - h[-1] ** 2))}]


def _drops(h: Factors) -> list[dict[str, Any]]:
    milestones = tuple(_changes(h))
    return [{"milestones": milestones, "factor": h[milestones[0]] / h[0]}] if len(milestones) <= _MOST_DROPS else []


def _steps(h: Factors) -> list[dict[str, Any]]:
    first = next(_changes(h))
    return [{"every": first, "factor": h[first] / h[0]}]


def _changes(h: Factors) -> Iterator[int]:
    """Return where the rate is another than one update before."""
    return (u + 1 for u, (before, after) in enumerate(pairwise(h)) if after != before)


# The simplest first: what two of them fit is named by the earlier one.
_SOLVERS: Mapping[str, Solver] = MappingProxyType(
    {
        "constant": _alone,
        "linear": _linear,
        "cosine": _cosine,
        "rex": _alone,
        "exponential": _exponential,
        "step": _steps,
        "multi-step": _drops,
        "inverse-sqrt": _inverse_sqrt,
        "noam": _alone,
        "geometric": _alone,
        "time-based": _time_based,
        "polynomial": _polynomial,
        "k-decay": _k_decay,
        "wsd": _wsd,
    }
)
