"""A trial of a model file, a short run or a repeat of a sweep: what it is asked for, and what it measured.

Free of torch: who has trials made in other processes needs none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lrfinder.engine.distributed.environment import STEP_TIMEOUT_S
from lrfinder.engine.observer import Observer
from lrfinder.records import RunPlan, SweepSettings
from lrfinder.store import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """Repeat `number`, counted from 0, of a sweep with these settings."""

    settings: SweepSettings
    number: int


Plan = RunPlan | Repeat


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSpec:
    """What is needed to make a trial: the model file, what to train, with how many threads, until when.

    `until` is a time of `time.time`, since other machines have other monotonic clocks. With `processes` so many make it
    together, each with as many threads; an update may take them `step_timeout_s`.
    """

    source: Source
    seed: int
    plan: Plan
    threads: int
    until: float | None = None
    processes: int | None = None
    step_timeout_s: float = STEP_TIMEOUT_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What a trial measured (a ShortRun, or the Trace of a repeat), and what an observer would have been told.

    `memory` is the most that it took, in bytes.
    """

    made: Any
    events: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    memory: int | None = None

    def report(self, observer: Observer) -> None:
        """Tell it to an observer here."""
        for event, details in self.events:
            getattr(observer, event)(*details)
