"""`lrfinder.dry_run`: what would be swept, and how long it would take, by five updates that are undone."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import os
import time
from collections.abc import Iterator
from typing import Any

from lrfinder.api.given import model_reference
from lrfinder.api.sweeping.settings import make_settings, make_source
from lrfinder.api.sweeping.sweep_run import Watch, sweep_model
from lrfinder.engine.observer import Observer
from lrfinder.engine.runtime.signals import Terminated
from lrfinder.errors import unknown_choice
from lrfinder.options import LEAST_TRIALS
from lrfinder.records import DryRun, Inspection, Mode, Point, Setup, Stop, SweepSettings, UpdateOptions
from lrfinder.store import Source
from lrfinder.task.reference import check_reference

UPDATES = 5
_NEXT = 1.0 + 1e-9  # all five updates train at the lowest rate


class _Stopwatch(Observer):
    """Keeps what is reported, and when the first and the last update of a repeat were measured."""

    def __init__(self) -> None:
        self.setup: Setup | None = None
        self.inspection: Inspection | None = None
        self.times: list[float] = []

    def prepared(self, setup: Setup) -> None:
        self.setup = setup
        self.times = [time.perf_counter()]

    def inspected(self, inspection: Inspection) -> None:
        self.inspection = inspection
        self.times = [time.perf_counter()]

    def measured(self, _: Point) -> None:
        self.times.append(time.perf_counter())


def dry_run(model: str | os.PathLike[str], **keywords: Any) -> DryRun:
    """Make the first five updates of a sweep of a model file at its lowest rate, and say what the sweep would cost.

    The keywords are those of `sweep` that say what is swept, and how, for a model file. Nothing is written, and all
    objects and random numbers are as they were. Raises UsageError for other keywords, and what `sweep` raises.
    """
    reference = model_reference(model)
    names = {field.name for field in dataclasses.fields(SweepSettings)}
    known = {*names, *inspect.signature(make_source).parameters, *inspect.signature(UpdateOptions).parameters}
    for name in keywords:
        if name not in known - {"reference", "training"}:
            raise unknown_choice("keyword of a dry run,", name, sorted(known - {"reference", "training"}))
    settings = make_settings(**{name: value for name, value in keywords.items() if name in names})
    options = {name: value for name, value in keywords.items() if name not in names}
    return dry_run_model(make_source(reference, **options), settings)


def dry_run_model(source: Source, settings: SweepSettings, *, watch: Watch | None = None) -> DryRun:
    """Do it for the model file of `source` and the settings of a sweep. `watch` is as in `sweep_model`."""
    check_reference(source.reference)
    seen = _Stopwatch()
    few = dataclasses.replace(
        settings, max_lr=settings.min_lr * _NEXT, steps=UPDATES, repeats=1, mode=Mode.CONTINUOUS, max_seconds=None
    )

    @contextlib.contextmanager
    def watched(_: SweepSettings) -> Iterator[Observer]:
        with contextlib.nullcontext() if watch is None else watch(few):
            yield seen

    result = sweep_model(source, few, watch=watched)
    if result.status is Stop.INTERRUPTED:
        raise KeyboardInterrupt("before the first updates were made")
    if result.status is Stop.TERMINATED:
        raise Terminated("before the first updates were made")
    if seen.setup is None or seen.inspection is None:
        raise RuntimeError("a sweep was measured that was not prepared")
    short = settings.short()
    restart, alone = settings.mode is Mode.RESTART, settings.mode is Mode.CONTINUOUS
    swept = 0 if restart else settings.repeats * settings.steps
    return DryRun(
        setup=seen.setup,
        inspection=seen.inspection,
        seconds_per_update=(seen.times[-1] - seen.times[0]) / max(1, len(seen.times) - 1),
        sweep_updates=swept + (0 if short is None else short.repeats * short.steps),
        trials=0 if alone else LEAST_TRIALS,
        trial_updates=settings.run_steps,
        warnings=result.notes,
    )
