"""What preparing a repeat or a run asks for, if it is one of several processes."""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from lrfinder.engine.distributed.exchange import CountedBatches, SharedReadback
from lrfinder.engine.distributed.sharding import LossOf, check_divided, divide, divide_state
from lrfinder.engine.distributed.shards import agreed_batches, may_end, shard
from lrfinder.engine.distributed.team import Team
from lrfinder.engine.distributed.updates import SharedUpdater, distributed_modules
from lrfinder.engine.losses.readback import CHUNK, DelayedReadback, Readback, reason_to_wait
from lrfinder.engine.runtime.rng import derived_seed
from lrfinder.engine.update.fast_path import BatchInUse
from lrfinder.engine.update.updater import Updater
from lrfinder.errors import UsageError
from lrfinder.formatting import format_count
from lrfinder.records import Graph, Metric, Strategy
from lrfinder.task.problem import BuiltProblem, Problem, SweptOptimizer

DDP = "each process has all weights (DistributedDataParallel)"
FSDP = "each process has its part of every weight (FSDP2: the root and {blocks})"
OWN_DDP = "the model has a DistributedDataParallel of its own"
OWN_FSDP = "the model divides its weights itself (fully_shard)"

_RANKED = 2**16  # mixed with the rank into the seed of a repeat; no repeat or evaluation has such a number


def shared_training(team: Team | None, problem: Problem, device: torch.device) -> SharedTraining | None:
    """Return what trains `problem` on several processes; None if there is no team.

    Raises UsageError for a strategy that needs one.
    """
    if team is not None:
        return SharedTraining(team, problem, device)
    if problem.training.strategy is Strategy.FSDP2:
        raise UsageError("strategy fsdp2 divides the weights over processes, and this is one", hint="add --nproc N")
    return None


class SharedTraining:
    """Trains `problem` together with the other processes of `team`.

    Raises UsageError for updates as CUDA graphs, which several processes don't make, and for a live model that is to be
    divided, which couldn't be put back.
    """

    def __init__(self, team: Team, problem: Problem, device: torch.device) -> None:
        if problem.training.graph is not Graph.OFF:
            raise UsageError("updates of several processes aren't made as CUDA graphs", hint="leave --graph at off")
        self.loader: Any = None  # that of this process's part of the data, once there is one
        self.sharding = ""  # how the data are divided, in words
        self.strategy = ""  # how the model is shared, in words
        self._team = team
        self._problem = problem
        self._device = device
        self._root: LossOf | None = None  # what this project has divided, as the last model was made
        self._deadline = math.inf

    def own_seed(self, seed: int) -> int:
        """Return the seed of this process's draws once the weights are made; rank 0 draws as a single process would."""
        return seed if self._team.leads else derived_seed(seed, _RANKED + self._team.rank)

    def mesh(self) -> Any:
        """Return the processes over which a model is divided; raise UsageError for one that can't be."""
        if self._problem.start is not None and self._problem.training.strategy is not Strategy.FSDP2:
            raise UsageError(
                f"{self._problem.where}: model(mesh) has divided its weights, into which no checkpoint is loaded",
                hint="let model() make it whole, and use --strategy fsdp2",
            )
        if self._device.type == "cpu" and not hasattr(torch.cpu.Stream, "record_event"):  # FSDP2 calls it
            raise UsageError(
                f"FSDP2 of torch {torch.__version__} can't divide weights on a CPU",
                hint="use --strategy ddp, or a newer torch",
            )
        return self._team.mesh(self._device)

    def place(self, model: nn.Module) -> nn.Module:
        """Return `model`, its weights divided over the processes if the strategy or the model file says so."""
        own = check_divided(model)
        divides = self._problem.training.strategy is Strategy.FSDP2 and not own
        self._root = None
        self.strategy = OWN_FSDP if own else OWN_DDP if distributed_modules(model) else DDP
        if divides:
            if isinstance(self._problem.model, nn.Module) or distributed_modules(model):
                raise UsageError(
                    f"strategy fsdp2 can't divide {type(model).__name__}, which is a live model or has a DDP: it "
                    "couldn't be put back",
                    hint="give a function that makes the model, or one that has been divided by `fully_shard` already",
                )
            self._root, blocks = divide(model, self.mesh())
            self.strategy = FSDP.format(blocks=format_count(blocks, "block"))
        self._team.divided = divides or own
        return model

    def with_loss(self, trial: BuiltProblem) -> BuiltProblem:
        """Return `trial` with its losses computed inside of the root of what was divided, if anything was."""
        if self._root is None:
            return trial
        if self._problem.start is not None:
            for part in trial.parts:
                divide_state(part.optimizer)
        return self._root.with_loss(trial)

    def shard(self, loader: Any, seed: int) -> Any:
        """Return this process's part of `loader`; see `shards.shard`."""
        self.loader, self.sharding = shard(loader, self._team, seed=seed, where=self._problem.where)
        return self.loader

    def agreed(self, batches: Generator[Any, None, None]) -> Generator[Any, None, None]:
        """Return `batches`, which end on all processes after as many."""
        return agreed_batches(batches, self._team, ahead=CHUNK) if may_end(self.loader) else batches

    def agreed_deadline(self, deadline: float) -> float:
        """Return -inf if rank 0's time is over already, else inf: the end comes with the losses."""
        self._deadline = deadline
        return -math.inf if self._team.gather([float(self._time_is_over())])[0][0] else math.inf

    def readback(
        self, parts: Sequence[SweptOptimizer], device: torch.device, metric: Metric, deadline: float
    ) -> Readback | None:
        """Return what reads the means of the losses late; None if each must be waited for."""
        self._deadline = deadline
        on_gpu = device.type == "cuda"
        if reason_to_wait(self._problem, parts, torch.device("cuda"), metric):
            return None
        inner = DelayedReadback(device, max_delay_s=math.inf) if on_gpu else None
        return SharedReadback(self._team, inner, time_is_over=self._time_is_over)

    def updater(
        self,
        trial: BuiltProblem,
        batches: Iterator[Any],
        device: torch.device,
        readback: Readback | None,
        *,
        in_use: BatchInUse,
        cleanup: contextlib.ExitStack,
    ) -> Updater:
        """Return what trains `trial`; its hooks are taken off when `cleanup` is closed."""
        counts = CountedBatches(batches, self._problem.training.accumulate)
        if isinstance(readback, SharedReadback):
            readback.counts = counts
        make = functools.partial(SharedUpdater, trial, self._problem.training, counts, device)
        updater = make(team=self._team, late=readback is not None, over=self._time_is_over, split=None, in_use=in_use)
        cleanup.callback(updater.close)
        return updater

    def _time_is_over(self) -> bool:
        return time.monotonic() >= self._deadline
