"""Run a range test: repeats, seeds, interruptions and failures; at the end the user's objects are as they were."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator

import torch

from lrfinder.engine.attempt import run_attempts
from lrfinder.engine.distributed.orders import MakeSweep
from lrfinder.engine.held_out import PROBES, HeldOut
from lrfinder.engine.loop import as_loss, train
from lrfinder.engine.losses.log import LossLog, StopReason
from lrfinder.engine.losses.readback import max_batching_delay_s
from lrfinder.engine.micro_batches import MicroBatching, micro_batching_for
from lrfinder.engine.observer import Observer
from lrfinder.engine.preparation import Preparation
from lrfinder.engine.restore.snapshot import Snapshot, preserved
from lrfinder.engine.restore.tensors import Marks, marks_of, weights_of
from lrfinder.engine.runtime.failures import environment_failure
from lrfinder.engine.runtime.rng import derived_seed
from lrfinder.engine.runtime.signals import Interrupts
from lrfinder.records import Metric, Stop, SweepSettings, Trace
from lrfinder.task.problem import Problem


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
    CPU the same settings give the same numbers bit for bit. What the problem's functions make is made again for each
    repeat; live objects start each repeat as they were. If the model is in training mode, each module keeps its mode;
    otherwise the whole model is put into training mode. `known` are the first repeats, if they were measured before.

    Ctrl-C, and SIGTERM within `signals_as_exceptions`, end the sweep: the traces so far are returned, the last one
    with Stop.INTERRUPTED or TERMINATED. When this returns or raises, the live objects and all random number generators
    are as they were.

    If memory runs out on a batch, the repeat begins again with each batch in twice as many parts, whose gradients
    are summed; later repeats do the same. `batching` is shared with short runs that follow; None: nothing follows.

    Raises EnvironmentFailure if memory ran out or a loader worker died, ModelFileError and UsageError if the problem
    can't be trained. Exceptions of the user's code pass through unchanged. In each case the observer has had the trace
    with Stop.FAILED before.
    """
    if batching is not None and batching.team is not None:
        batching.team.tell(MakeSweep(settings, known))
    try:
        with Interrupts() as interrupts, preserved(problem, device) as snapshot:
            shared = batching or micro_batching_for(problem, settings, device)
            sweep = _Sweep(problem, settings, device, observer, interrupts, batching=shared, snapshot=snapshot)
            traces = list(known)
            while len(traces) < settings.repeats and not (traces and sweep.is_last(traces[-1])):
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
        snapshot: Snapshot,
    ) -> None:
        self.problem = problem
        self.settings = settings
        self.device = device
        self.observer = observer
        self.interrupts = interrupts
        self.deadline = time.monotonic() + (math.inf if settings.max_seconds is None else settings.max_seconds)
        self.rates = settings.lrs()
        self.batching = batching
        self.preparation = Preparation(problem, device, batching)
        self.held_out = HeldOut(problem, self.preparation, batching, device=device, seed=settings.seed)
        self.snapshot = snapshot
        self._used = False  # whether the live objects have been trained on

    def repeat(self, repeat: int) -> Trace:
        """Run one repeat and return its trace."""
        return run_attempts(
            lambda: _Repeat(self, repeat), interrupts=self.interrupts, batching=self.batching, device=self.device
        )

    def rewind(self) -> None:
        """Put the live objects back to where they began, if they have been used."""
        if self._used:
            self.snapshot.rewind()
        self._used = True

    def is_last(self, trace: Trace) -> bool:
        """Return whether no repeat can follow: a loader that is an iterator has only one start."""
        dry = trace.stop is Stop.OUT_OF_DATA and isinstance(self.problem.train_loader, Iterator)
        return trace.stop.was_asked_for or dry


class _Repeat:
    """One attempt at a repeat."""

    def __init__(self, sweep: _Sweep, repeat: int) -> None:
        sweep.observer.repeat_started(repeat)
        self._sweep = sweep
        self._repeat = repeat
        self._seed = derived_seed(sweep.settings.seed, repeat)
        self._optimizers: list[torch.optim.Optimizer] = []  # those that are swept
        self._marks: Marks | None = None  # of their weights, before any update
        self.log = LossLog(
            repeat=repeat, rates=sweep.rates, measured=sweep.observer.measured, held=sweep.interrupts.held()
        )

    @property
    def due(self) -> int:
        return self._sweep.preparation.due

    def rewind(self) -> None:
        self._sweep.rewind()

    def train(self, cleanup: contextlib.ExitStack) -> StopReason:
        sweep, log, seed = self._sweep, self.log, self._seed
        metric = sweep.settings.metric
        # A sampler with `set_epoch` derives its order from the epoch alone, so each repeat needs epochs of its own. A
        # pass gives at least one batch, and a repeat takes those of one update more than it has rates, and a probe.
        first_epoch = self._repeat * ((len(sweep.rates) + 1) * sweep.problem.training.accumulate + PROBES)
        trial, batches = sweep.preparation.ready(seed, first_epoch=first_epoch, cleanup=cleanup)
        self._optimizers = [part.optimizer for part in trial.parts if part.group_ratios is not None]
        self._marks = marks_of(weights_of(self._optimizers))
        sweep.batching.check(trial, sweep.device, seed)
        readback = sweep.preparation.readback(trial, metric, sweep.deadline)
        judge = None
        if metric is not Metric.TRAIN:
            judge = sweep.held_out.judge(metric, trial, batches, seed)
            if judge is None:
                return Stop.OUT_OF_DATA, self._no_batch()
        updater = sweep.preparation.updater(trial, batches, readback, cleanup=cleanup)
        loss = updater.next_loss() if judge is None else as_loss(judge())
        if loss is None:
            return Stop.OUT_OF_DATA, self._no_batch()
        first = log.first = loss.item()
        sweep.preparation.report(trial, sweep.observer, sweep.interrupts)
        rule = updater.stopping_rule(first, lambda _, rate: f"after the update at rate {rate:.3g}")
        log.start(rule, readback, max_delay_s=max_batching_delay_s(sweep.problem, metric))
        end = rule.before("the loss of the first batch" if judge is None else "the held-out loss")
        deadline = sweep.preparation.deadline(sweep.deadline)
        return end or train(updater, log, sweep.rates, deadline=deadline, judge=judge)

    def progress(self, stop: Stop) -> str:
        words = {
            Stop.COMPLETED: "",
            Stop.OUT_OF_DATA: "train_loader ran out and can't be started again; ",
            Stop.OUT_OF_TIME: "the time limit was reached; ",
        }.get(stop)
        return "" if words == "" else (words or "") + self._updates_made()

    def finish(self, stop: Stop, why: str) -> Trace:
        log, batching = self.log, self._sweep.batching
        doubts = self._sweep.preparation.doubts if self._repeat == 0 else ()
        unmoved = (
            "" if stop.cut_short else self._sweep.snapshot.unmoved(self._optimizers, log.updates, marks=self._marks)
        )
        trace = Trace(
            repeat=self._repeat,
            seed=self._seed,
            initial_loss=log.first,
            lrs=self._sweep.rates[: len(log.losses)],
            losses=tuple(log.losses),
            stop=stop,
            updates=log.updates + batching.wasted_updates,
            why=why,
            skipped=log.skipped,
            micro_batches=batching.micro_batches,
            note=batching.noted(unmoved, *doubts, self._sweep.preparation.note),
            empty=batching.in_use.empty if log.updates else 0,
        )
        self._sweep.observer.repeat_ended(trace)
        return trace

    def _no_batch(self) -> str:
        return f"train_loader had no batch left; {self._updates_made()}"

    def _updates_made(self) -> str:
        skipped = f", {self.log.skipped} skipped by the loss scaler" if self.log.skipped else ""
        return f"{self.log.updates} of {len(self._sweep.rates)} updates made{skipped}"
