"""Advice as the JSON document that scripts rely on."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from lrfinder.advice.advise import Advice


def to_json(advice: Advice) -> dict[str, Any]:
    """Return plain data: config, picks and updates as the contract names them, then band, status, why and hint.

    The fit is left out: it follows from the curve, which is stored.
    """
    return {
        "config": advice.schedule.as_data() if advice.schedule is not None else None,
        "picks": [asdict(pick) for pick in advice.picks],
        "updates": advice.updates,
        "band": asdict(advice.band) if advice.band is not None else None,
        "status": advice.status.value,
        "why": advice.why,
        "hint": advice.hint,
    }
