"""Sinks: trackers of ours, and observers that distributions bring by entry points; they get every event of a sweep.

A sink is `make(settings) -> Observer`. One that fails costs a warning, never the sweep.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lrfinder.advice import Request, advise, gather_evidence
from lrfinder.engine.observer import EVENTS, Observer
from lrfinder.errors import UsageError, error_text, unknown_choice
from lrfinder.plugins import PluginTable, PluginWarning
from lrfinder.records import SweepResult, SweepSettings


def _fault(_name: str, found: Any) -> str | None:
    return None if callable(found) else "isn't a function of the settings"


def _tracker(package: str, name: str) -> Callable[[SweepSettings], Observer]:
    def make(settings: SweepSettings) -> Observer:
        made: Observer = getattr(import_module(f"lrfinder.trackers.{package}"), name)(settings)
        return made

    return make


# Each is called as the package that it needs; the extra of that name brings it.
OURS: Mapping[str, Callable[[SweepSettings], Observer]] = {
    "tensorboard": _tracker("tensorboard", "TensorBoard"),
    "mlflow": _tracker("mlflow", "MLflow"),
    "wandb": _tracker("wandb", "WandB"),
}
SINKS: PluginTable[Callable[[SweepSettings], Observer]] = PluginTable("lrfinder.sinks", OURS, _fault)


def check_sinks(names: Iterable[str]) -> None:
    """Raise UsageError for a name that neither lrfinder nor a distribution has, or whose package is missing."""
    for name in names:
        if name not in SINKS:
            raise unknown_choice("sink", name, SINKS)
        if name in OURS and find_spec(name) is None:
            raise UsageError(f"the sink {name} needs the package {name}", hint=f"pip install {name}")


def begin_sinks(names: Iterable[str], settings: SweepSettings, run: Path | None) -> list[Sink]:
    """Return the sinks of these names, which know that the sweep begins; `run` is its run folder, if it has one."""
    sinks = [Sink(name, settings) for name in names]
    for sink in sinks:
        sink.began(run)
    return sinks


def finish_sinks(sinks: Sequence[Sink], result: SweepResult) -> None:
    """Tell the sinks how the sweep ended, and what is advised."""
    if sinks:
        advice = advise(gather_evidence(result), Request())
        for sink in sinks:
            sink.finished(result, advice)


class Sink(Observer):
    """Forwards every event to the observer of the sink `name`, until that fails: then one warning, and nothing more."""

    def __init__(self, name: str, settings: SweepSettings) -> None:
        self._name = name
        self._observer: Observer | None = None
        for event in EVENTS:
            setattr(self, event, partial(self._forward, event))
        try:
            made: object = SINKS[name](settings)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a stranger's code must not cost the sweep
            self._leave_out(error)
            return
        if isinstance(made, Observer):
            self._observer = made
        else:
            self._leave_out(TypeError(f"it gives {made!r:.60}, not an Observer"))

    def _leave_out(self, error: BaseException) -> None:
        self._observer = None
        why = f"{type(error).__name__}: {error_text(error)}"
        origin = SINKS.distributions.get(self._name, "lrfinder")
        message = f"{origin}: its sink {self._name} is left out from here on: {why}"
        warnings.warn(message, PluginWarning, stacklevel=3)

    def _forward(self, event: str, *details: Any) -> None:
        if self._observer is not None:
            try:
                getattr(self._observer, event)(*details)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - a stranger's code must not cost the sweep
                self._leave_out(error)
