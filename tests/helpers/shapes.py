"""Schedules of every shape, drawn by Hypothesis."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from lrfinder.schedules import SCHEDULES, Schedule

share = st.floats(0, 1)
momentums = st.none() | st.tuples(st.floats(0, 0.9), st.floats(0.9, 0.99))
# The parameters of each shape beyond `warmup` and `steps`; a new shape needs a line here.
PARAMETERS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "constant": {},
    "linear": {"final": share},
    "cosine": {"final": share},
    "step": {"every": st.integers(1, 400), "factor": st.floats(0, 1, exclude_min=True)},
    "multi-step": {
        "milestones": st.lists(st.integers(1, 400), min_size=1, max_size=5).map(lambda them: tuple(sorted(them))),
        "factor": st.floats(0, 1, exclude_min=True),
    },
    "geometric": {"halved_first": st.booleans()},
    "exponential": {
        "factor": st.floats(0, 1, exclude_min=True),
        "every": st.integers(1, 400),
        "staircase": st.booleans(),
    },
    "time-based": {"rate": st.floats(0, 10), "every": st.integers(1, 50), "compounded": st.booleans()},
    "inverse-sqrt": {"timescale": st.none() | st.integers(1, 1000)},
    "noam": {},
    "rex": {},
    "wsd": {
        "cooldown": st.integers(0, 400),
        "shape": st.sampled_from(["1-sqrt", "linear", "cosine"]),
        "final": share,
    },
    "polynomial": {
        "power": st.floats(0.01, 10),
        "final": share,
        "over": st.none() | st.integers(1, 400),
        "cycle": st.booleans(),
    },
    "k-decay": {"k": st.floats(0.05, 10), "final": share},
    "tanh": {"lower": st.floats(-10, 0), "upper": st.floats(0.01, 10), "floor": share},
    "slanted-triangular": {"rise": st.floats(0, 1, exclude_max=True), "ratio": st.floats(1, 1000)},
    "cosine-restarts": {
        "first": st.integers(1, 400),
        "growth": st.floats(1, 10),
        "shrink": st.floats(0.01, 1),
        "final": share,
    },
    "one-cycle": {
        "rise": st.floats(0.01, 0.99),
        "start": st.floats(0.001, 1),
        "final": share,
        "anneal": st.sampled_from(["cos", "linear"]),
        "momentums": momentums,
    },
    "cyclical": {
        "up": st.integers(1, 400),
        "down": st.none() | st.integers(1, 400),
        "base": share,
        "mode": st.sampled_from(["triangular", "triangular2", "exp-range"]),
        "gamma": st.floats(0.5, 1),
        "momentums": momentums,
    },
    "plateau": {
        "factor": st.floats(0.01, 0.99),
        "patience": st.integers(0, 5),
        "threshold": st.floats(0, 0.5),
        "mode": st.sampled_from(["relative", "absolute"]),
        "cooldown": st.integers(0, 4),
        "floor": share,
    },
    "table": {
        "points": st.lists(st.tuples(st.integers(1, 400), share), max_size=8, unique_by=lambda point: point[0]).flatmap(
            lambda rest: share.map(lambda first: ((0, first), *sorted(rest)))
        ),
        "between": st.sampled_from(["line", "hold"]),
    },
}
RISE_THEMSELVES = {"one-cycle", "cyclical", "slanted-triangular"}
MAY_RISE_AGAIN = RISE_THEMSELVES | {"cosine-restarts", "polynomial", "table"}


@st.composite
def schedules(draw: st.DrawFn, most: int = 300) -> Schedule:
    name = draw(st.sampled_from(sorted(SCHEDULES)))
    steps = draw(st.integers(1, most))
    warmup = 0 if name in RISE_THEMSELVES else draw(st.integers(0, steps))
    start = draw(st.none() | share) if warmup else None
    parameters = draw(st.fixed_dictionaries(PARAMETERS[name]))
    return SCHEDULES[name](steps=steps, warmup=warmup, warmup_start=start, **parameters)
