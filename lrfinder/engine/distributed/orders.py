"""What rank 0 tells the others to do next. They do the same as it does: only it decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lrfinder.records import RunPlan, SweepSettings, Trace


@dataclass(frozen=True, slots=True)
class LoadModel:
    """Import the model file of `source` (a `store.Source`)."""

    source: Any
    seed: int


@dataclass(frozen=True, slots=True)
class Begin:
    """Begin a sweep, or without `settings` a verification, on `device`."""

    settings: SweepSettings | None
    device: str


@dataclass(frozen=True, slots=True)
class MakeSweep:
    """Make the repeats that follow the `known` ones."""

    settings: SweepSettings
    known: tuple[Trace, ...]


@dataclass(frozen=True, slots=True)
class OpenRuns:
    """Short runs follow."""

    seed: int


@dataclass(frozen=True, slots=True)
class MakeRun:
    """Make one short run."""

    plan: RunPlan


@dataclass(frozen=True, slots=True)
class MeasureNoise:
    """Make one short run, and look at the gradients of `batch` samples after it."""

    plan: RunPlan
    batch: int


@dataclass(frozen=True, slots=True)
class CloseRuns:
    """No short run follows."""


@dataclass(frozen=True, slots=True)
class End:
    """All is done; `value` is what rank 0 returns."""

    value: Any = None
