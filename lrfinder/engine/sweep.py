"""Run a range test: repeats, seeds, interruptions and failures, with the user's objects as they were at the end."""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Callable, Iterator

import torch

from lrfinder.engine.held_out import PROBES, HeldOut
from lrfinder.engine.loop import HeldOutLoss, TrainingLoss, sweep_rates
from lrfinder.engine.losses.course import Course
from lrfinder.engine.losses.measurement import Measurement
from lrfinder.engine.losses.readback import gathering, readout_for
from lrfinder.engine.losses.stopping import StopReason
from lrfinder.engine.micro_batches import MicroBatching, micro_batching_for
from lrfinder.engine.observer import Observer
from lrfinder.engine.preparation import Preparation
from lrfinder.engine.restore.snapshot import preserved
from lrfinder.engine.runtime.failures import environment_failure
from lrfinder.engine.runtime.memory import free_memory
from lrfinder.engine.runtime.rng import derived_seed
from lrfinder.engine.runtime.signals import Interrupts, Terminated
from lrfinder.errors import error_text, user_code_location
from lrfinder.records import Metric, Stop, SweepSettings, Trace
from lrfinder.task.problem import BuiltProblem, Problem


def run_sweep(
    problem: Problem,
    settings: SweepSettings,
    *,
    device: torch.device,
    observer: Observer,
    batching: MicroBatching | None = None,
    known: tuple[Trace, ...] = (),
) -> tuple[Trace, ...]:
    """Measure the loss that follows an update at each rate of `settings`, and return a trace for each repeat.

    Repeat r is seeded with `derived_seed(settings.seed, r)`: Python, NumPy, torch and the loader's own generators. On a
    CPU the same settings give the same numbers bit for bit. What the problem makes by callables is made anew for each
    repeat; live objects start each from where they were. The model trains in the modes that it has, where it is in
    training mode as a whole; else it is put into training mode. `known` are the first repeats, where they were measured
    before: the others follow.

    Ctrl-C, and SIGTERM within `signals_as_exceptions`, end the sweep: the traces so far are returned, the last one
    with Stop.INTERRUPTED or TERMINATED. Whatever happens, the live objects and all random number generators are as they
    were when this returns or raises.

    Where memory runs out on a batch, the repeat begins again with each batch in twice as many parts, whose gradients
    are summed; the rest of the sweep does the same.

    `batching` is what short runs that follow share with this; None: nothing follows.

    Raises EnvironmentFailure where memory ran out or a loader worker died, ModelFileError and UsageError where the
    problem can't be trained; what the user's code raises passes through unchanged. In each case the observer has had
    the trace with Stop.FAILED before.
    """
    try:
        with Interrupts() as interrupts, preserved(problem, device) as snapshot:
            shared = batching or micro_batching_for(problem, settings, device)
            sweep = _Sweep(problem, settings, device, observer, interrupts, batching=shared, rewind=snapshot.rewind)
            traces = list(known)
            while len(traces) < settings.repeats and not (traces and sweep.is_last(traces[-1])):
                if traces:
                    snapshot.rewind()
                traces.append(sweep.repeat(len(traces)))
            return tuple(traces)
    except Exception as error:
        failure = environment_failure(error)
        if failure is None:
            raise
        raise failure from error


class _Sweep:
    """One run of a sweep: what its repeats share."""

    def __init__(
        self,
        problem: Problem,
        settings: SweepSettings,
        device: torch.device,
        observer: Observer,
        interrupts: Interrupts,
        *,
        batching: MicroBatching,
        rewind: Callable[[], None],
    ) -> None:
        self._problem = problem
        self._settings = settings
        self._device = device
        self._observer = observer
        self._interrupts = interrupts
        self._deadline = time.monotonic() + (math.inf if settings.max_seconds is None else settings.max_seconds)
        self._rates = settings.lrs()
        self._batching = batching
        self._rewind = rewind
        self._told_setup = False
        self._course: Course | None = None  # of the repeat that is being made
        self._preparation = Preparation(problem, device, batching)
        self._held_out = HeldOut(problem, self._preparation, batching, device=device, seed=settings.seed)

    def repeat(self, repeat: int) -> Trace:
        """Run one repeat and return its trace; where memory runs out, again from its beginning on smaller parts."""
        while (trace := self._attempt(repeat)) is None:
            free_memory(self._device)
            self._rewind()
        return trace

    def _attempt(self, repeat: int) -> Trace | None:
        """Run a repeat; signals act in here only, and not while something is put back. None: memory ran out."""
        self._observer.repeat_started(repeat)
        seed = derived_seed(self._settings.seed, repeat)
        measurement = Measurement(repeat, seed, self._rates, self._observer.measured)
        self._course = None
        try:
            with contextlib.ExitStack() as cleanup, self._interrupts.allowed(), torch.enable_grad():
                stop, why = self._measure(repeat, seed, measurement, cleanup)
        except (KeyboardInterrupt, Terminated) as signalled:
            settled(self._course)
            stop, why = self._interrupted(isinstance(signalled, Terminated), measurement)
        except BaseException as error:
            end = settled(self._course)
            if end is not None and self._interrupts.pending is None:  # before it came to this
                return self._ended(measurement, *end)
            if self._interrupts.pending is None and self._batching.split_further(error, measurement.updates):
                return None
            if self._interrupts.pending is None:
                self._observer.repeat_ended(
                    self._batching.marked(measurement.trace(Stop.FAILED, describe_error(error)))
                )
                failure = environment_failure(error, batch=self._preparation.due)
                if failure is None:
                    raise
                raise failure from error
            # A Ctrl-C in a terminal reaches the loader's workers too; their end may be seen first.
            stop, why = self._interrupted(self._interrupts.pending != signal.SIGINT, measurement)
        return self._ended(measurement, stop, why)

    def _ended(self, measurement: Measurement, stop: Stop, why: str) -> Trace:
        trace = self._batching.marked(measurement.trace(stop, why))
        self._observer.repeat_ended(trace)
        return trace

    def is_last(self, trace: Trace) -> bool:
        """Return whether no repeat can follow: a loader that is an iterator has only one start."""
        dry = trace.stop is Stop.OUT_OF_DATA and isinstance(self._problem.train_loader, Iterator)
        return trace.stop.was_asked_for or dry

    def _measure(
        self, repeat: int, seed: int, measurement: Measurement, cleanup: contextlib.ExitStack
    ) -> tuple[Stop, str]:
        # A sampler that is told the epoch derives its order from it alone: repeats get epochs of their own. A pass
        # gives at least one batch, and a repeat takes those of one update more than it has rates, and a probe.
        first_epoch = repeat * ((len(self._rates) + 1) * self._problem.training.accumulate + PROBES)
        trial, batches = self._preparation.ready(seed, first_epoch=first_epoch, cleanup=cleanup)
        self._batching.check(trial, self._device, seed)
        metric = self._settings.metric
        readout = readout_for(self._problem, trial.parts, self._device, metric)
        judge = None
        if metric is not Metric.TRAIN:
            judge = self._held_out.judge(metric, trial, batches, seed)
            if judge is None:
                return Stop.OUT_OF_DATA, f"train_loader had no batch left; {measurement.progress}"
        updates = self._preparation.updates(trial, batches, late=readout is not None)
        losses = TrainingLoss(updates, measurement) if judge is None else HeldOutLoss(updates, measurement, judge)

        def begin(loss: torch.Tensor) -> tuple[Course, StopReason | None]:
            first = loss.item()
            measurement.start(first)
            self._prepared(trial)
            ending = updates.ending(first, lambda _, rate: f"after the update at rate {rate:.3g}")
            self._course = Course(
                ending,
                readout,
                take=measurement.add,
                back_to=measurement.back_to,
                held=self._interrupts.held,
                patience=gathering(self._problem, metric),
            )
            return self._course, ending.before(losses.name)

        return sweep_rates(losses, measurement, begin=begin, deadline=self._deadline)

    def _prepared(self, trial: BuiltProblem) -> None:
        if not self._told_setup:
            self._told_setup = True
            with self._interrupts.held():
                self._observer.prepared(self._preparation.described(trial))

    def _interrupted(self, terminated: bool, measurement: Measurement) -> tuple[Stop, str]:  # noqa: FBT001
        self._interrupts.answered()
        return (Stop.TERMINATED if terminated else Stop.INTERRUPTED), measurement.progress


def settled(course: Course | None) -> StopReason | None:
    """Take in what was under way when an exception came, and return the end, where that had come before."""
    try:
        return None if course is None else course.settle()
    except Exception:  # noqa: BLE001 - a device that reports an error fails every call; what came first is told
        return None


def describe_error(error: BaseException) -> str:
    """Return what happened in one line."""
    place = user_code_location(error)
    text = " ".join(error_text(error).split())
    told = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return f"{told} (while {place})" if place else told
