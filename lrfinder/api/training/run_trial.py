"""One trial of a model file, a short run or a repeat of a sweep: the same function in any process, on any machine."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from lrfinder.api.sweeping.model_file import load_source_problem
from lrfinder.api.training.trial import Repeat, Trial, TrialSpec
from lrfinder.engine.distributed.orders import Begin
from lrfinder.engine.distributed.team import current_team
from lrfinder.engine.held_out import no_val_loader
from lrfinder.engine.micro_batches import MicroBatching, micro_batching_for
from lrfinder.engine.observer import EVENTS, Observer
from lrfinder.engine.runtime.device import choose_device
from lrfinder.engine.runtime.memory import most_memory
from lrfinder.engine.short_runs import ShortRuns
from lrfinder.engine.sweep import run_sweep
from lrfinder.errors import ModelFileError
from lrfinder.records import Metric, ShortRun, Stop, Trace
from lrfinder.task.problem import Problem

if TYPE_CHECKING:
    import torch

_AT_ONCE = 1e-6  # seconds: the limit of a trial that begins when the time is over, since a limit must be above 0


def run_trial(spec: TrialSpec) -> Trial:
    """Import the model file and make one trial, as one of several processes or by itself.

    Raises what `run_sweep` and `ShortRuns.run` raise, and ModelFileError for a repeat of a loader that is an iterator:
    here each repeat would begin with its first batch.
    """
    import torch

    torch.set_num_threads(spec.threads)
    sys.dont_write_bytecode = True
    noted = _Noted()
    with contextlib.redirect_stdout(sys.stderr):
        problem = load_source_problem(spec.source, seed=spec.seed)
        device = choose_device(spec.source.device)
        left = math.inf if spec.until is None else spec.until - time.time()
        batching = _batching(spec, problem, device)
        made: ShortRun | Trace
        if isinstance(spec.plan, Repeat):
            made = _repeat(spec.plan, problem, device, noted, left=left, batching=batching)
        else:
            deadline = time.monotonic() + left
            with ShortRuns(
                problem, seed=spec.seed, device=device, observer=noted, deadline=deadline, batching=batching
            ) as short_runs:
                made = short_runs.run(spec.plan)
    return Trial(made=made, events=tuple(noted.events), memory=most_memory(device))


def _batching(spec: TrialSpec, problem: Problem, device: torch.device) -> MicroBatching | None:
    """Return how batches are computed if this process leads others, which are told to begin; None: as by itself."""
    team = current_team()
    if team is None:
        return None
    settings = spec.plan.settings if isinstance(spec.plan, Repeat) else None
    team.tell(Begin(settings, spec.source.device))
    return micro_batching_for(problem, settings, device, team=team)


def _repeat(
    plan: Repeat,
    problem: Problem,
    device: torch.device,
    observer: Observer,
    *,
    left: float,
    batching: MicroBatching | None,
) -> Trace:
    """Make a repeat that ends when `left` seconds have gone by."""
    settings = replace(plan.settings, repeats=plan.number + 1)
    if isinstance(problem.train_loader, Iterator):
        raise ModelFileError(
            f"{problem.where}: train_loader is an iterator, which has only one start: repeats can't be made apart",
            hint="give a function that returns a new iterable: `def train_loader(): ...`",
        )
    if settings.metric is Metric.VAL and problem.val_loader is None:
        raise no_val_loader(problem.where)
    if math.isfinite(left):
        settings = replace(settings, max_seconds=max(left, _AT_ONCE))
    one = Trace(repeat=0, seed=0, initial_loss=None, lrs=(), losses=(), stop=Stop.COMPLETED, updates=0)
    known = (one,) * plan.number  # those before it are made elsewhere: here only their number counts
    return run_sweep(problem, settings, device=device, observer=observer, batching=batching, known=known)[-1]


class _Noted(Observer):
    """Keeps the events that are of interest afterwards, too."""

    def __init__(self) -> None:
        self.events: list[tuple[str, tuple[Any, ...]]] = []
        for event in EVENTS:
            if event != "run_updated":
                setattr(self, event, partial(self._note, event))

    def _note(self, event: str, *details: Any) -> None:
        self.events.append((event, details))
