"""What the sweep of a run folder cost, in a file of its own: no two sweeps take the same time."""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter

from lrfinder.errors import RunError
from lrfinder.files import write_atomic
from lrfinder.records import Cost
from lrfinder.store.load import read_json, validated

COST = "cost.json"
_COST = TypeAdapter(Cost)


def write_cost(folder: Path, cost: Cost) -> None:
    """Save the cost. Raises EnvironmentFailure if the disk refuses."""
    write_atomic(folder / COST, _COST.dump_json(cost, indent=1) + b"\n")


def read_cost(folder: Path) -> Cost | None:
    """Return what the sweep cost; None if the folder doesn't say. Raises RunError, with the file, if it isn't valid."""
    file = folder / COST
    if not file.exists():
        return None
    try:
        return validated(_COST, read_json(file), "cost", file)
    except RunError as error:
        raise RunError(str(error), hint="remove the file: then only a budget in time can't be given") from None
