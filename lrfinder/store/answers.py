"""What `recommend` and `verify` left in a run folder, read back; a damaged file is refused with the place."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, TypeAdapter

from lrfinder.config import ScheduleConfig, parse_schedule
from lrfinder.errors import ConfigError, RunError
from lrfinder.records import Pick, Status
from lrfinder.store.layout import VERIFICATION
from lrfinder.store.load import read_json, validated


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


_ANSWER = TypeAdapter(StoredAnswer)


def read_answer(file: Path) -> StoredAnswer | None:
    """Return what a file of `recommend` or `verify` says, None if there is none.

    Raises RunError, with file and place, if it is not valid.
    """
    if not file.exists():
        return None
    try:
        answer = validated(_ANSWER, read_json(file), "document", file)
        _ = answer.schedule
        bad = next((f"picks.{i}: {fault}" for i, pick in enumerate(answer.picks) if (fault := _fault(pick))), None)
        problem = None if bad is None else f"{file}: {bad}"
    except (RunError, ConfigError) as error:
        problem = str(error)
    if problem is not None:
        command = "verify" if file.name == VERIFICATION else "recommend"
        raise RunError(problem, hint=f"make it again (`lrfinder {command} {file.parent}`), or remove the file")
    return answer


def _fault(pick: Pick) -> str | None:
    rates = [rate for rate in (pick.lr, pick.low, pick.high) if rate is not None]
    if not all(math.isfinite(rate) and rate > 0 for rate in rates):
        return f"rates must be finite numbers above 0, got {rates}"
    if (pick.lr is None) != (pick.status is Status.REFUSED):
        return "only a pick that is refused has no rate"
    return None
