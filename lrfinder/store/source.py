"""Where a run's model came from: what is needed to build the same problem again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from lrfinder.options import LONGEST_WAIT_S
from lrfinder.records import LOADER_TIMEOUT, Script, UpdateOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The reference of the model file, as it was given, and the options that say what is trained, and how.

    Of a `script` the reference is its program, and the other options are its own.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    reference: str
    optimizer: str | None = None
    optimizer_options: Mapping[str, float] = field(default_factory=dict)
    batch_size: int | None = None
    device: str = "auto"
    training: UpdateOptions = UpdateOptions()
    loader_timeout: float = LOADER_TIMEOUT  # seconds that a batch may take; 0: forever
    start_from: str | None = None  # the checkpoint from which training begins, as it was given
    script: Script | None = None

    def __post_init__(self) -> None:
        for name, value in self.optimizer_options.items():
            if not math.isfinite(value):
                raise ValueError(f"{name} must be a finite number, got {value}")
        if not (math.isfinite(self.loader_timeout) and self.loader_timeout >= 0):
            raise ValueError(
                f"loader_timeout must be a finite number of seconds, 0 to wait forever, got {self.loader_timeout}"
            )
        if self.loader_timeout > LONGEST_WAIT_S:
            raise ValueError(
                f"loader_timeout must be at most {LONGEST_WAIT_S:g} seconds, or 0 to wait forever, got "
                f"{self.loader_timeout:g}"
            )
