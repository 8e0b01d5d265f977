"""The schedules: one file per shape, listed here. Adding one is its file and its entry in `SHAPES`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

from pydantic import Field

from lrfinder.schedules.base import Schedule
from lrfinder.schedules.constant import Constant
from lrfinder.schedules.cosine import Cosine
from lrfinder.schedules.linear import Linear
from lrfinder.schedules.step import Step

# In the order in which they are listed to people.
SHAPES = Linear | Cosine | Constant | Step

# What a config's `schedule` may be: the shape is told by its `name`.
AnySchedule = Annotated[SHAPES, Field(discriminator="name")]

# Every shape by the name that configs and options use.
SCHEDULES: Mapping[str, type[Schedule]] = MappingProxyType(
    {shape.model_fields["name"].default: shape for shape in SHAPES.__args__}
)

__all__ = ["SCHEDULES", "AnySchedule", "Constant", "Cosine", "Linear", "Schedule", "Step"]
