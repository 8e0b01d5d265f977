"""The schedules: one file per shape, listed here. Adding one is its file and its entry in `SHAPES`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

from pydantic import Field

from lrfinder.schedules.base import Schedule
from lrfinder.schedules.constant import Constant
from lrfinder.schedules.cosine import Cosine
from lrfinder.schedules.cosine_restarts import CosineRestarts
from lrfinder.schedules.cyclical import Cyclical
from lrfinder.schedules.exponential import Exponential
from lrfinder.schedules.geometric import Geometric
from lrfinder.schedules.inverse_sqrt import InverseSqrt
from lrfinder.schedules.k_decay import KDecay
from lrfinder.schedules.linear import Linear
from lrfinder.schedules.multi_step import MultiStep
from lrfinder.schedules.noam import Noam
from lrfinder.schedules.one_cycle import OneCycle
from lrfinder.schedules.plateau import Plateau
from lrfinder.schedules.polynomial import Polynomial
from lrfinder.schedules.rex import Rex
from lrfinder.schedules.slanted_triangular import SlantedTriangular
from lrfinder.schedules.step import Step
from lrfinder.schedules.table import Table
from lrfinder.schedules.tanh import Tanh
from lrfinder.schedules.time_based import TimeBased
from lrfinder.schedules.wsd import WarmupStableDecay

# In the order in which they are listed to people: those of known length, drops, open-ended, cycles, no formula.
SHAPES = (
    Linear
    | Cosine
    | WarmupStableDecay
    | OneCycle
    | SlantedTriangular
    | Rex
    | Polynomial
    | KDecay
    | Tanh
    | Constant
    | Step
    | MultiStep
    | Geometric
    | Exponential
    | TimeBased
    | InverseSqrt
    | Noam
    | Plateau
    | CosineRestarts
    | Cyclical
    | Table
)

# What a config's `schedule` may be: the shape is told by its `name`.
AnySchedule = Annotated[SHAPES, Field(discriminator="name")]

# Every shape by the name that configs and options use.
SCHEDULES: Mapping[str, type[Schedule]] = MappingProxyType(
    {shape.model_fields["name"].default: shape for shape in SHAPES.__args__}
)

__all__ = [
    "SCHEDULES",
    "AnySchedule",
    "Constant",
    "Cosine",
    "CosineRestarts",
    "Cyclical",
    "Exponential",
    "Geometric",
    "InverseSqrt",
    "KDecay",
    "Linear",
    "MultiStep",
    "Noam",
    "OneCycle",
    "Plateau",
    "Polynomial",
    "Rex",
    "Schedule",
    "SlantedTriangular",
    "Step",
    "Table",
    "Tanh",
    "TimeBased",
    "WarmupStableDecay",
]
