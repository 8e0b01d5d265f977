"""Sweep a problem on a device, with observers: what the command line and the Python call share."""

from __future__ import annotations

from collections.abc import Sequence

from lrfinder.api.listeners import Listeners
from lrfinder.api.result import Sweep
from lrfinder.engine.device import choose_device
from lrfinder.engine.observer import Observer
from lrfinder.engine.signals import Terminated
from lrfinder.engine.sweep import run_sweep
from lrfinder.errors import ModelFileError
from lrfinder.records import Stop, SweepSettings, Trace
from lrfinder.task.problem import Problem


def measure(
    problem: Problem,
    settings: SweepSettings,
    *,
    device: str = "auto",
    observers: Sequence[Observer] = (),
    run: str | None = None,
) -> Sweep:
    """Run the range test and return its result; the user's objects are as they were before, however it ends.

    An interruption that leaves anything measured is a result with that status; one that comes before the first loss
    is raised again (KeyboardInterrupt, Terminated). Errors are those of `run_sweep`, and UsageError for the device.
    """
    listeners = Listeners(observers)
    traces = run_sweep(problem, settings, device=choose_device(device), observer=listeners)
    if listeners.setup is None:
        raise _nothing_measured(problem, traces)
    return Sweep(settings=settings, setup=listeners.setup, traces=traces, run=run)


def _nothing_measured(problem: Problem, traces: tuple[Trace, ...]) -> BaseException:
    """Return what to raise where not even a first loss was measured."""
    ends = {trace.stop for trace in traces}
    if Stop.TERMINATED in ends:
        return Terminated("before the first loss")
    if Stop.INTERRUPTED in ends:
        return KeyboardInterrupt()
    return ModelFileError(
        f"{problem.where}: train_loader has no batch left",
        hint="give a function that returns a new iterable: `def train_loader(): ...`",
    )
