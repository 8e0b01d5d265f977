"""What a run folder answers, for reports and comparisons: the sweep, the advice that counts, what verified it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field

from lrfinder.advice.advise import Advice
from lrfinder.config import ScheduleConfig, parse_schedule
from lrfinder.records import Chart, Pick, ShortRun, SweepResult, UpdateOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswer:
    """The part of recommendation.json and verification.json that people read; `picks[0]` is the one that counts.

    `confirmed` is that of a verification; None if training could not tell.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "ignore"}  # documents may gain keys

    config: dict[str, Any] | None
    picks: Annotated[tuple[Pick, ...], Field(min_length=1)]
    updates: int
    why: str
    hint: str
    confirmed: bool | None = None

    @property
    def schedule(self) -> ScheduleConfig | None:
        """The schedule config, if one was planned. Raises ConfigError if it is not valid."""
        return None if self.config is None else parse_schedule(json.dumps(self.config), suffix=".json", where="config")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAnswer:
    """A run folder as people read it.

    `advice` is that of the last verification or recommendation that the folder keeps, else what its sweep allows; `by`
    names the command that gave it. `config` is the path of its schedule config, if that file is there.
    """

    name: str  # as the user names the folder
    result: SweepResult
    advice: Advice
    by: str
    model_file: str
    model_sha256: str | None
    training: UpdateOptions
    trials: tuple[ShortRun, ...] = ()  # of `verify`
    verification: StoredAnswer | None = None
    config: str | None = None

    @property
    def chart(self) -> Chart:
        """What a picture of it shows."""
        return self.advice.chart(self.result)

    @property
    def pick(self) -> Pick:
        """The pick that counts; its rate is None if it was refused."""
        return self.advice.picks[0]
