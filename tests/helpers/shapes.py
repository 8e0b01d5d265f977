"""Schedules of every shape, drawn by Hypothesis from the bounds of their fields."""

from __future__ import annotations

import math
import types
import typing
from typing import Annotated, Any, Literal

from hypothesis import strategies as st
from pydantic.fields import FieldInfo

from lrfinder.schedules import SCHEDULES, Schedule

share = st.floats(0, 1)
MOST = {int: 400, float: 1000.0}  # where a field has no upper bound, or one beyond any run
# What a shape demands beyond the bounds of single fields.
MORE: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "multi-step": {
        "milestones": st.lists(st.integers(1, 400), min_size=1, max_size=5).map(lambda them: tuple(sorted(them)))
    },
    "tanh": {"upper": st.floats(0.01, 10)},  # above any `lower`
    "one-cycle": {"momentums": st.none() | st.tuples(st.floats(0, 0.9), st.floats(0.9, 0.99))},
    "cyclical": {"momentums": st.none() | st.tuples(st.floats(0, 0.9), st.floats(0.9, 0.99))},
    "table": {
        "points": st.lists(st.tuples(st.integers(1, 400), share), max_size=8, unique_by=lambda point: point[0]).flatmap(
            lambda rest: share.map(lambda first: ((0, first), *sorted(rest)))
        )
    },
}
RISE_THEMSELVES = {name for name, shape in SCHEDULES.items() if shape.rises_itself}
MAY_RISE_AGAIN = RISE_THEMSELVES | {"cosine-restarts", "polynomial", "table"}


def _of_field(annotation: Any, metadata: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    if typing.get_origin(annotation) is Annotated:
        inner, *more = typing.get_args(annotation)
        return _of_field(inner, (*metadata, *more))
    if typing.get_origin(annotation) is Literal:
        return st.sampled_from(typing.get_args(annotation))
    if typing.get_origin(annotation) in {types.UnionType, typing.Union}:
        return st.one_of(*(_of_field(inner, metadata) for inner in typing.get_args(annotation)))
    if annotation is types.NoneType:
        return st.none()
    if annotation is bool:
        return st.booleans()
    return _number(annotation, [bound for item in metadata for bound in getattr(item, "metadata", [item])])


def _number(kind: type, bounds: list[Any]) -> st.SearchStrategy[Any]:
    given = {
        name: getattr(bound, name) for bound in bounds for name in ("ge", "gt", "le", "lt") if hasattr(bound, name)
    }
    low, high = given.get("ge", given.get("gt")), given.get("le", given.get("lt", math.inf))
    high = min(high, MOST[kind])
    if kind is int:
        return st.integers(low, high)
    return st.floats(max(low, -high), high, exclude_min="gt" in given, exclude_max="lt" in given)


def _parameters(name: str, shape: type[Schedule]) -> dict[str, st.SearchStrategy[Any]]:
    own: dict[str, FieldInfo] = {
        key: field for key, field in shape.model_fields.items() if key not in Schedule.model_fields
    }
    drawn = MORE.get(name, {})
    return {
        field.alias or key: drawn[key] if key in drawn else _of_field(field.annotation, tuple(field.metadata))
        for key, field in own.items()
    }


# The parameters of each shape beyond those of all.
PARAMETERS = {name: _parameters(name, shape) for name, shape in SCHEDULES.items()}


@st.composite
def schedules(draw: st.DrawFn, most: int = 300) -> Schedule:
    name = draw(st.sampled_from(sorted(SCHEDULES)))
    steps = draw(st.integers(1, most))
    warmup = 0 if name in RISE_THEMSELVES else draw(st.integers(0, steps))
    start = draw(st.none() | share) if warmup else None
    parameters = draw(st.fixed_dictionaries(PARAMETERS[name]))
    return SCHEDULES[name](steps=steps, warmup=warmup, warmup_start=start, **parameters)
