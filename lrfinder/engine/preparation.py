"""Prepare a repeat or a short run: seed, build, move to the device, set training mode, and start the batches."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

import torch
from torch import nn

from lrfinder.batch_growth.sampler import BatchSchedule
from lrfinder.engine.data.digest import digest_of
from lrfinder.engine.data.fetch import Fetch, endless
from lrfinder.engine.data.prefetch import read_ahead
from lrfinder.engine.description import describe_setup, inspect_batch
from lrfinder.engine.distributed.training import shared_training
from lrfinder.engine.extensions import graph_capture
from lrfinder.engine.losses.evaluation import LEAST_SAMPLES
from lrfinder.engine.losses.readback import Readback, readback_for
from lrfinder.engine.micro_batches import MicroBatching
from lrfinder.engine.observer import Observer
from lrfinder.engine.restore.reachable import state_beside
from lrfinder.engine.restore.snapshot import loader_preserved
from lrfinder.engine.runtime.device import move_optimizer_state
from lrfinder.engine.runtime.rng import derived_seed, loader_parts, seed_everything, seed_loader
from lrfinder.engine.runtime.signals import Interrupts
from lrfinder.engine.update.autocast import in_precision
from lrfinder.engine.update.updater import Updater
from lrfinder.errors import ModelFileError, user_code
from lrfinder.options import LONGER
from lrfinder.records import Metric
from lrfinder.task.build import build_trial
from lrfinder.task.first_loss import FirstLoss, sizes_of
from lrfinder.task.loader import batches_per_epoch
from lrfinder.task.optimizer_modes import training_modes
from lrfinder.task.problem import BuiltProblem, Problem
from lrfinder.task.split import samples_of

# Mixed into the seed of a repeat for its draws after the cache was used. So the repeat that filled the cache, whose
# loader drew numbers, draws the same as the others.
_CACHED = 2


class Preparation:
    """Builds trials of one problem on one device; the same seed gives the same weights, batches and draws."""

    def __init__(self, problem: Problem, device: torch.device, batching: MicroBatching) -> None:
        self._problem = problem
        self._device = device
        self._batching = batching
        self._cache = batching.cache
        self._fetch = self._new_fetch()
        self._made: Callable[[], nn.Module | None] = lambda: None  # the model that was made the last time
        self._capture = graph_capture(problem.training, device)
        self._reported = False
        self._length: int | None = None  # batches of a pass, as the loader says
        self._first_batch: str | None = None  # its digest
        self._sizes: tuple[float | None, ...] = ()  # of the numbers in it
        self._seen = FirstLoss()
        self.doubts: tuple[str, ...] = ()  # of the first batch
        self._beside = state_beside(problem)
        self._shared = shared_training(batching.team, problem, device)

    def ready(
        self, seed: int, *, first_epoch: int, cleanup: contextlib.ExitStack
    ) -> tuple[BuiltProblem, Generator[Any, None, None]]:
        """Seed everything, build a trial, and return it with its endless batches.

        `cleanup` ends the workers and puts the loader back. Live objects are used as they are: the caller has rewound
        them. `first_epoch` is the first number for `set_epoch`. Raises ModelFileError if model() returns the same
        object again, and whatever building raises.
        """
        seed_everything(seed, self._device)
        trial = build_trial(self._problem, place=self._place, mesh=None if self._shared is None else self._shared.mesh)
        if self._shared is not None:
            trial = self._shared.with_loss(trial)
        self._check_new(trial.model)
        for part in trial.parts:
            move_optimizer_state(part.optimizer)
        if not trial.model.training:
            trial.model.train()
        trial.model.zero_grad(set_to_none=True)
        training_modes(trial)
        trial.watch(None if self._reported else self._seen)
        trial = dataclasses.replace(trial, beside=(*trial.beside, *self._beside))
        trial = in_precision(trial, self._problem.training.precision, self._device)
        own_seed = seed
        if self._shared is not None:
            own_seed = self._shared.own_seed(seed)
            if own_seed != seed:  # the first process goes on as one by itself does, after what building drew
                seed_everything(own_seed, self._device)
        if self._cache is None:
            return trial, self._loaded(trial, seed, first_epoch, cleanup)
        if not self._cache.filled:
            batches = self._loaded(trial, seed, first_epoch, cleanup)
            self._cache.fill(batches, lambda taken: self._missing(taken, LEAST_SAMPLES))
            batches.close()
        seed_everything(derived_seed(own_seed, _CACHED), self._device)
        return trial, self._cache.training()

    def set_aside(self, batches: Generator[Any, None, None], count: int, *, samples: int = 0) -> list[Any]:
        """Take `count` batches that aren't trained on, or more until they have `samples` samples in all processes.

        Call it before the first of `batches` is taken.
        """
        source = batches if self._cache is None else iter(self._cache.held_out())
        taken = list(itertools.islice(source, count))
        return taken + list(itertools.islice(source, self._missing(taken, samples)))

    def _missing(self, taken: list[Any], samples: int) -> int:
        """Return how many more batches like those `taken` have `samples` samples: 0 if they can't be counted.

        Not more than one pass gives, after which they would come again.
        """
        team = self._batching.team
        own = [samples_of(batch) or 0 for batch in taken]
        everybodys: list[list[float]] = [[min(own, default=0), sum(own)]]
        if team is not None:
            everybodys = team.gather(everybodys[0])
        if not all(least for least, _ in everybodys):
            return 0
        needed = math.ceil(len(taken) * samples / sum(found for _, found in everybodys))
        in_a_pass = needed if self._length is None else self._length // len(everybodys)
        return max(0, min(needed, in_a_pass) - len(taken))

    def readback(self, trial: BuiltProblem, metric: Metric, deadline: float) -> Readback | None:
        """Return what reads the losses of training `trial` late; None if each must be waited for."""
        if self._shared is not None:
            return self._shared.readback(trial.parts, self._device, metric, deadline)
        return readback_for(self._problem, trial.parts, self._device, metric)

    def deadline(self, deadline: float) -> float:
        """Return the time at which this process stops by itself; several stop together, when rank 0 says so."""
        return deadline if self._shared is None else self._shared.agreed_deadline(deadline)

    def updater(
        self,
        trial: BuiltProblem,
        batches: Iterator[Any],
        readback: Readback | None,
        *,
        cleanup: contextlib.ExitStack,
    ) -> Updater:
        """Return what trains `trial` on `batches`, read ahead if that helps; `readback` reads its losses, if any does.

        Raises UsageError if updates must be captured and can't be, and for what several processes can't train.
        """
        late = readback is not None
        parts, training = self._batching.micro_batches, self._problem.training
        split = self._batching.split if parts > 1 else None
        ahead = read_ahead(self._problem, batches, self._device, micro_batches=parts)
        captured = None
        if self._capture is not None:
            captured, ahead = self._capture.capture(trial, ahead, micro_batches=parts)
        in_use = self._batching.in_use
        in_use.batch, in_use.empty = None, 0
        if self._shared is not None:
            return self._shared.updater(trial, ahead, self._device, readback, in_use=in_use, cleanup=cleanup)
        return Updater(trial, training, ahead, self._device, split=split, late=late, captured=captured, in_use=in_use)

    def report(self, trial: BuiltProblem, observer: Observer, interrupts: Interrupts) -> None:
        """Report what is trained to `observer`, at the first call only; call it after the first batch."""
        if self._reported:
            return
        self._reported = True
        cached = None if self._cache is None else len(self._cache)
        graph = None if self._capture is None else self._capture.why
        team = self._batching.team
        setup = describe_setup(
            self._problem,
            trial,
            self._device,
            cached_batches=cached,
            graph=graph,
            processes=None if team is None else team.size,
            loader=None if self._shared is None else self._shared.loader,
            sharding="" if self._shared is None else self._shared.sharding,
            strategy="" if self._shared is None else self._shared.strategy,
        )
        judged = self._batching.judging.description
        setup = dataclasses.replace(setup, judged=judged, first_batch=self._first_batch, sizes=self._sizes)
        trial.watch(None)
        inspection = inspect_batch(trial, self._batching.in_use.batch, self._seen, self._device)
        self.doubts = inspection.doubts
        with interrupts.held():
            observer.prepared(setup)
            observer.inspected(inspection)

    @property
    def note(self) -> str:
        """What is wrong with the loader's length, in words for people; empty if nothing was seen."""
        if self._length is None or self._fetch.longest_pass <= self._length:
            return ""
        return (
            f"{LONGER} ({self._length}), so epochs can't be counted by it; if several workers each give all data, "
            "divide it among them"
        )

    @property
    def due(self) -> int:
        """The number of the batch that the loader gives next."""
        return self._fetch.count

    def _loaded(
        self, trial: BuiltProblem, seed: int, first_epoch: int, cleanup: contextlib.ExitStack
    ) -> Generator[Any, None, None]:
        cleanup.enter_context(loader_preserved(trial.loader))
        seed_loader(trial.loader, seed)
        for part in loader_parts(trial.loader):
            if isinstance(part, BatchSchedule):
                part.hold()
        self._fetch = self._new_fetch(trial.loader)
        loader = trial.loader if self._shared is None else self._shared.shard(trial.loader, seed)
        batches = endless(loader, first_epoch=first_epoch, where=self._problem.where, fetch=self._fetch)
        cleanup.callback(batches.close)
        return batches if self._shared is None else self._shared.agreed(batches)

    def _new_fetch(self, loader: Iterable[Any] = ()) -> Fetch:
        return Fetch("train_loader", self._problem.loader_timeout, lambda first: self._look(loader, first))

    def _look(self, loader: Iterable[Any], first: Any) -> None:
        """Note what is recorded of a loader and its first batch."""
        if not self._reported:
            self._first_batch = self._first_batch or digest_of(first)
            self._sizes = self._sizes or sizes_of(first)
        self._length = batches_per_epoch(loader)

    def _place(self, module: nn.Module) -> nn.Module:
        if len({parameter.device for parameter in module.parameters()}) > 1:
            return module  # spread over several on purpose; its own code moves the data between them
        with user_code(f"moving the model to {self._device}"):
            placed = module.to(self._device)
        return placed if self._shared is None else self._shared.place(placed)

    def _check_new(self, model: nn.Module) -> None:
        if isinstance(self._problem.model, nn.Module):
            return
        if self._made() is model:
            raise ModelFileError(
                f"{self._problem.where}: model() returned the same object for two repeats",
                hint="build a new model in each call, or give the object itself: `model = net`",
            )
        self._made = weakref.ref(model)
