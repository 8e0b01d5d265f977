"""The parts of a sweep made by an executor: each repeat and each short run is a trial of its own."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence

from lrfinder.api.result import Sweep
from lrfinder.api.sweeping.broadcast import Broadcast
from lrfinder.api.sweeping.sweep_parts import deadline_of, make_sweep
from lrfinder.api.training.executors import Elsewhere, Executor
from lrfinder.api.training.trial import Plan, Repeat, Trial
from lrfinder.engine.observer import Observer
from lrfinder.engine.runtime.rng import derived_seed
from lrfinder.engine.runtime.signals import Interrupts, Terminated, answer_signal
from lrfinder.errors import ModelFileError, UsageError
from lrfinder.records import RunPlan, ShortRun, Stop, SweepSettings, Trace
from lrfinder.store import ResumableRun, Source

CUT = "it was being made elsewhere, and what it had measured is gone"


def measure_elsewhere(
    source: Source,
    settings: SweepSettings,
    where: Elsewhere,
    *,
    observers: Sequence[Observer] = (),
    run: str | None = None,
    kept: ResumableRun | None = None,
) -> Sweep:
    """Run the range test as `measure` does, its repeats at once as far as there are devices.

    On a CPU with as many threads the result is the same, bit for bit. Observers are told of a repeat when it has ended,
    in the order of the repeats. Raises UsageError for batches that all repeats share.
    """
    if settings.cache_batches is not None:
        raise UsageError("--cache-batches: repeats that are made apart can't share batches", hint="leave --on out")
    listeners = Broadcast(observers, setup=kept.setup if kept is not None else None)
    deadline = deadline_of(settings)
    # One for all parts: a signal that arrives between two of them, while the next rate is chosen, ends the next one.
    with where.open(source, seed=settings.seed) as executor, Interrupts() as interrupts:
        parts = _Parts(executor, settings.seed, listeners, deadline, interrupts)
        return make_sweep(parts, settings, listeners, deadline=deadline, run=run, kept=kept)


class _Parts:
    """Makes the parts of a sweep, and tells the listeners."""

    def __init__(
        self, executor: Executor, seed: int, listeners: Broadcast, deadline: float, interrupts: Interrupts
    ) -> None:
        self._executor, self._seed, self._listeners, self._interrupts = executor, seed, listeners, interrupts
        self._until = None if math.isinf(deadline) else time.time() + deadline - time.monotonic()
        self._memory: int | None = None

    def repeats(self, settings: SweepSettings, known: tuple[Trace, ...]) -> tuple[Trace, ...]:
        """Make the repeats; a signal ends them, and the last trace says so."""
        traces = list(known)
        early: dict[int, Trial] = {}

        def take(trial: Trial) -> None:
            early[trial.made.repeat] = trial
            while (following := early.pop(len(traces), None)) is not None:
                following.report(self._listeners)
                traces.append(following.made)

        stop = self._make([Repeat(settings=settings, number=n) for n in range(len(traces), settings.repeats)], take)
        if stop is not None:
            repeat = len(traces)
            cut = Trace(
                repeat=repeat,
                seed=derived_seed(settings.seed, repeat),
                initial_loss=None,
                lrs=(),
                losses=(),
                stop=stop,
                updates=0,
                why=CUT,
            )
            self._listeners.repeat_started(repeat)
            self._listeners.repeat_ended(cut)
            traces.append(cut)
        return tuple(traces)

    @contextlib.contextmanager
    def short_runs(self) -> Iterator[_Parts]:
        """Return what makes short runs."""
        yield self

    def run(self, plan: RunPlan) -> ShortRun:
        """Make a short run; a signal ends it, and the result says so."""
        made: list[ShortRun] = []

        def take(trial: Trial) -> None:
            trial.report(self._listeners)
            made.append(trial.made)

        stop = self._make([plan], take)
        if stop is None:
            return made[0]
        cut = ShortRun(
            plan=plan, seed=self._seed, metric="probe", initial_loss=None, loss=None, stop=stop, updates=0, why=CUT
        )
        self._listeners.run_started(plan)
        self._listeners.run_ended(cut)
        return cut

    def _make(self, plans: Sequence[Plan], take: Callable[[Trial], None]) -> Stop | None:
        """Make trials and hand each to `take`; return how a signal ended that, if one did.

        A signal that comes when all are made ends what follows.
        """
        if not plans:
            return None
        interrupts, missing = self._interrupts, len(plans)
        try:
            with interrupts.allowed():
                for trial in self._executor.run(plans, self._until):
                    with interrupts.held():
                        self._memory = max(self._memory or 0, trial.memory or 0)
                        take(trial)
                        missing -= 1
        except BaseException as error:
            if not missing and isinstance(error, KeyboardInterrupt | Terminated):
                return None  # it is pending
            stop = answer_signal(interrupts, error)
            if stop is None:
                raise
            return stop
        return None

    def can_begin_again(self, settings: SweepSettings) -> bool:
        """Tell that each part begins where the first did: it is made from the model file, in another process."""
        del settings
        return True

    def most_memory(self) -> int | None:
        """Return the most memory that a trial took, in bytes."""
        return self._memory

    def nothing_left(self) -> ModelFileError:
        """Return the error to raise if not even a first loss was measured."""
        return ModelFileError("train_loader has no batch", hint="let it give at least one")
