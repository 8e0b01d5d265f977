"""Run a range test: repeats, seeds, interruptions and failures, with the user's objects as they were at the end."""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Iterator

import torch

from lrfinder.engine.facts import setup_of
from lrfinder.engine.failures import environment_failure
from lrfinder.engine.loop import sweep_rates
from lrfinder.engine.measurement import Measurement
from lrfinder.engine.observer import Observer
from lrfinder.engine.preparation import Preparation
from lrfinder.engine.rng import derived_seed
from lrfinder.engine.signals import Interrupts, Terminated
from lrfinder.engine.snapshot import preserved
from lrfinder.engine.updates import Updates
from lrfinder.errors import place_of, words_of
from lrfinder.records import Point, Stop, SweepSettings, Trace
from lrfinder.task.problem import Problem, Trial

# After these the repeats that are left aren't begun.
_FINAL = frozenset({Stop.INTERRUPTED, Stop.TERMINATED, Stop.OUT_OF_TIME})


def run_sweep(
    problem: Problem,
    settings: SweepSettings,
    *,
    device: torch.device,
    observer: Observer,
    known: tuple[Trace, ...] = (),
) -> tuple[Trace, ...]:
    """Measure the loss that follows an update at each rate of `settings`, and return a trace for each repeat.

    Repeat r is seeded with `derived_seed(settings.seed, r)`: Python, NumPy, torch and the loader's own generators. On a
    CPU the same settings give the same numbers bit for bit. What the problem makes by callables is made anew for each
    repeat; live objects start each from where they were. The model trains in the modes that it has, where it is in
    training mode as a whole; else it is put into training mode. `known` are the first repeats, where they were measured
    before: the others follow.

    Ctrl-C, and SIGTERM within `terminate_as_exception`, end the sweep: the traces so far are returned, the last one
    with Stop.INTERRUPTED or TERMINATED. Whatever happens, the live objects and all random number generators are as they
    were when this returns or raises.

    Raises EnvironmentFailure where memory ran out or a loader worker died, ModelFileError and UsageError where the
    problem can't be trained; what the user's code raises passes through unchanged. In each case the observer has had
    the trace with Stop.FAILED before.
    """
    try:
        with Interrupts() as interrupts, preserved(problem, device) as snapshot:
            sweep = _Sweep(problem, settings, device, observer, interrupts)
            traces = list(known)
            while len(traces) < settings.repeats and not (traces and _is_last(traces[-1], problem)):
                if traces:
                    snapshot.rewind()
                traces.append(sweep.repeat(len(traces)))
            return tuple(traces)
    except Exception as error:
        failure = environment_failure(error)
        if failure is None:
            raise
        raise failure from error


def _is_last(trace: Trace, problem: Problem) -> bool:
    return trace.stop in _FINAL or (trace.stop is Stop.OUT_OF_DATA and isinstance(problem.train_loader, Iterator))


class _Sweep:
    """One run of a sweep: what its repeats share."""

    def __init__(
        self,
        problem: Problem,
        settings: SweepSettings,
        device: torch.device,
        observer: Observer,
        interrupts: Interrupts,
    ) -> None:
        self._problem = problem
        self._settings = settings
        self._device = device
        self._observer = observer
        self._interrupts = interrupts
        self._deadline = time.monotonic() + (math.inf if settings.max_seconds is None else settings.max_seconds)
        self._rates = settings.lrs()
        self._preparation = Preparation(problem, device)
        self._told = False

    def repeat(self, repeat: int) -> Trace:
        """Run one repeat and return its trace; signals act in here only, and not while something is put back."""
        self._observer.repeat_started(repeat)
        seed = derived_seed(self._settings.seed, repeat)
        measurement = Measurement(repeat, seed, self._rates, self._report)
        try:
            with contextlib.ExitStack() as cleanup, self._interrupts.allowed(), torch.enable_grad():
                stop, why = self._measure(repeat, seed, measurement, cleanup)
        except (KeyboardInterrupt, Terminated) as signalled:
            stop, why = self._interrupted(isinstance(signalled, Terminated), measurement)
        except BaseException as error:
            if self._interrupts.pending is None:
                self._observer.repeat_ended(measurement.trace(Stop.FAILED, told(error)))
                raise
            # A Ctrl-C in a terminal reaches the loader's workers too; their end may be seen first.
            stop, why = self._interrupted(self._interrupts.pending != signal.SIGINT, measurement)
        trace = measurement.trace(stop, why)
        self._observer.repeat_ended(trace)
        return trace

    def _measure(
        self, repeat: int, seed: int, measurement: Measurement, cleanup: contextlib.ExitStack
    ) -> tuple[Stop, str]:
        # A sampler that is told the epoch derives its order from it alone: repeats get epochs of their own. A pass
        # gives at least one batch, and a repeat takes those of one update more than it has rates.
        training = self._problem.training
        first_epoch = repeat * (len(self._rates) + 1) * training.accumulate
        trial, batches = self._preparation.ready(seed, first_epoch=first_epoch, cleanup=cleanup)
        return sweep_rates(
            Updates(trial, training, batches, self._device),
            measurement,
            deadline=self._deadline,
            prepared=lambda: self._prepared(trial),
        )

    def _prepared(self, trial: Trial) -> None:
        if not self._told:
            self._told = True
            with self._interrupts.held():
                self._observer.prepared(setup_of(self._problem, trial, self._device))

    def _report(self, point: Point) -> None:
        with self._interrupts.held():
            self._observer.measured(point)

    def _interrupted(self, terminated: bool, measurement: Measurement) -> tuple[Stop, str]:  # noqa: FBT001
        self._interrupts.answered()
        return (Stop.TERMINATED if terminated else Stop.INTERRUPTED), measurement.progress


def told(error: BaseException) -> str:
    """Return what happened in one line."""
    place = place_of(error)
    text = " ".join(words_of(error).split())
    told = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return f"{told} (while {place})" if place else told
