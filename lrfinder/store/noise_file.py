"""The gradients that `verify --critical-batch` looked at, in a file of their own in the run folder."""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter

from lrfinder.errors import RunError
from lrfinder.files import write_atomic
from lrfinder.records import GradientNoise
from lrfinder.store.load import read_json, validated

NOISE = "gradient-noise.json"
_NOISE = TypeAdapter(GradientNoise)


def write_noise(folder: Path, noise: GradientNoise) -> None:
    """Save what was measured. Raises EnvironmentFailure if the disk refuses."""
    write_atomic(folder / NOISE, _NOISE.dump_json(noise, indent=1) + b"\n")


def read_noise(folder: Path) -> GradientNoise | None:
    """Return what was measured; None if nothing was. Raises RunError, with the file, if it isn't valid."""
    file = folder / NOISE
    if not file.exists():
        return None
    try:
        return validated(_NOISE, read_json(file), "gradient noise", file)
    except RunError as error:
        raise RunError(str(error), hint="remove the file, and measure again: verify --critical-batch") from None
