"""What training costs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from lrfinder.records.strict import STRICT


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """So many optimizer updates, and the seconds that they take or took; None: not known.

    `memory` is the most bytes that the process has had, or on a GPU the most that torch held there; None: not known.
    Raises ValueError for what no clock shows.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    updates: int
    seconds: float | None = None
    memory: int | None = None

    def __post_init__(self) -> None:
        if self.updates < 0 or (self.memory is not None and self.memory < 0):
            raise ValueError(f"updates and memory can't be below 0, got {self.updates}, {self.memory}")
        if self.seconds is not None and not 0 <= self.seconds < math.inf:
            raise ValueError(f"seconds must be a finite number from 0, got {self.seconds}")

    @property
    def pace(self) -> float | None:
        """The seconds of an update, all that belongs to it included; None: not known."""
        return self.seconds / self.updates if self.seconds and self.updates else None
