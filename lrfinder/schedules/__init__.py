"""The schedules: one file for each shape. Adding one is its file and its line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import PlainValidator, SerializeAsAny
from pydantic_core import PydanticCustomError

from lrfinder.plugins import PluginTable
from lrfinder.schedules.base import Schedule as Schedule

# isort: off
# In the order in which they are listed to people: those of known length, drops, open-ended, cycles, no formula.
from lrfinder.schedules.linear import Linear as Linear
from lrfinder.schedules.cosine import Cosine as Cosine
from lrfinder.schedules.wsd import WarmupStableDecay as WarmupStableDecay
from lrfinder.schedules.one_cycle import OneCycle as OneCycle
from lrfinder.schedules.slanted_triangular import SlantedTriangular as SlantedTriangular
from lrfinder.schedules.rex import Rex as Rex
from lrfinder.schedules.polynomial import Polynomial as Polynomial
from lrfinder.schedules.k_decay import KDecay as KDecay
from lrfinder.schedules.tanh import Tanh as Tanh
from lrfinder.schedules.constant import Constant as Constant
from lrfinder.schedules.step import Step as Step
from lrfinder.schedules.multi_step import MultiStep as MultiStep
from lrfinder.schedules.geometric import Geometric as Geometric
from lrfinder.schedules.exponential import Exponential as Exponential
from lrfinder.schedules.time_based import TimeBased as TimeBased
from lrfinder.schedules.inverse_sqrt import InverseSqrt as InverseSqrt
from lrfinder.schedules.noam import Noam as Noam
from lrfinder.schedules.plateau import Plateau as Plateau
from lrfinder.schedules.cosine_restarts import CosineRestarts as CosineRestarts
from lrfinder.schedules.cyclical import Cyclical as Cyclical
from lrfinder.schedules.table import Table as Table
# isort: on


def _fault(name: str, found: Any) -> str | None:
    if not (isinstance(found, type) and issubclass(found, Schedule)):
        return "isn't a class of lrfinder.schedules.Schedule"
    if not hasattr(found, "advice"):
        return "has no advice"
    own = found.model_fields["name"].default
    return None if own == name else f"calls itself {own!r}"


# Every shape by the name that configs and options use.
SCHEDULES: Mapping[str, type[Schedule]] = PluginTable(
    "lrfinder.schedules",
    {
        shape.model_fields["name"].default: shape
        for shape in tuple(globals().values())
        if isinstance(shape, type) and issubclass(shape, Schedule) and shape is not Schedule
    },
    _fault,
)
UNKNOWN_SHAPE: Final = "unknown_shape"  # pydantic's error type of a section that names no schedule


def _by_name(data: Any) -> Schedule:
    """Return the schedule that a config's section describes: its `name` says which shape it is."""
    if isinstance(data, Schedule):
        return data
    if not isinstance(data, Mapping):
        raise PydanticCustomError("dict_type", "not a mapping")
    name = data.get("name")
    shape = SCHEDULES.get(name) if isinstance(name, str) else None
    if shape is None:
        raise PydanticCustomError(UNKNOWN_SHAPE, "not a known schedule")
    return shape.model_validate(data)


# What a config's `schedule` may be.
AnySchedule = Annotated[SerializeAsAny[Schedule], PlainValidator(_by_name)]
