"""What `recommend` and `verify` left in a run folder, read back; a damaged file is refused with the place."""

from __future__ import annotations

import math
from pathlib import Path

from pydantic import TypeAdapter

from lrfinder.advice.answer import StoredAnswer
from lrfinder.errors import ConfigError, RunError
from lrfinder.records import Pick, Status
from lrfinder.store.layout import VERIFICATION
from lrfinder.store.load import read_json, validated

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
