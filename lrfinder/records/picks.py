"""What follows from the measurements: the fit, the band, the picks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

from lrfinder.records.strict import STRICT


class Status(StrEnum):
    """How far a pick may be trusted."""

    CONFIDENT = "confident"
    UNCERTAIN = "uncertain"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Loss as a smooth function of log10(rate), pooled over repeats, on a grid of rates.

    `low` and `high` bound the fitted loss pointwise (90 %, bootstrap). `slopes` is d loss / d log10(rate).
    `start` is the loss before anything was learned, `noise` the standard deviation of a single measurement,
    `bandwidth` the kernel's standard deviation in decades.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    lrs: tuple[float, ...]
    losses: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    slopes: tuple[float, ...]
    start: float
    noise: float
    bandwidth: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """A range of rates, with the interval of each end over repeats."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    low: float
    high: float
    low_interval: tuple[float, float] | None = None
    high_interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """What one rule says: a rate with its interval, or a refusal with the reason in `why` (then `lr` is None)."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    rule: str
    lr: float | None
    low: float | None
    high: float | None
    status: Status
    why: str
