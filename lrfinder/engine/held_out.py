"""The batches by which a repeat is judged, if its metric isn't the training loss."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import torch

from lrfinder.engine.losses.evaluation import EVALUATION, LEAST_BATCHES, validation_batches
from lrfinder.engine.losses.judging import HeldOutLoss
from lrfinder.engine.micro_batches import MicroBatching
from lrfinder.engine.preparation import Preparation
from lrfinder.engine.runtime.rng import derived_seed, remember_global_state, seed_everything
from lrfinder.errors import ModelFileError
from lrfinder.records import Metric
from lrfinder.task.loader import make_val_loader
from lrfinder.task.problem import BuiltProblem, Problem

PROBES = 1  # batches set aside for `probe`: engine/README.md#probes


class HeldOut:
    """Judges by the metric of a sweep. The val_loader is read once, so all repeats get the same batches."""

    def __init__(
        self, problem: Problem, preparation: Preparation, batching: MicroBatching, *, device: torch.device, seed: int
    ) -> None:
        self._problem = problem
        self._batching = batching
        self._preparation = preparation
        self._device = device
        self._seed = derived_seed(seed, EVALUATION)
        self._validation: list[Any] | None = None

    def judge(
        self, metric: Metric, trial: BuiltProblem, batches: Generator[Any, None, None], seed: int
    ) -> Callable[[], float] | None:
        """Set batches aside, and return what computes the loss of `trial` on them; None if no batch is left.

        Raises ModelFileError if the metric is `val` and there is no val_loader.
        """
        if metric is Metric.VAL:
            held_out = self._validation = self._read() if self._validation is None else self._validation
        else:
            held_out = self._preparation.set_aside(batches, PROBES)
        if not held_out and self._batching.team is None:
            return None
        draws = derived_seed(seed, EVALUATION)
        judging, split = self._batching.judging, self._batching.split
        judge = HeldOutLoss(judging, trial, held_out, device=self._device, seed=draws, split=split)
        judge.settle_now()
        return judge

    def _read(self) -> list[Any]:
        put_back = remember_global_state(self._device)
        try:
            seed_everything(self._seed, self._device)
            loader = make_val_loader(self._problem)
            if loader is None:
                raise no_val_loader(self._problem.where)
            timeout = self._problem.loader_timeout
            batches = validation_batches(
                loader, LEAST_BATCHES, seed=self._seed, where=self._problem.where, timeout=timeout
            )
            return self._batching.own_share(batches)
        finally:
            put_back()


def no_val_loader(where: str) -> ModelFileError:
    """Return the error of a sweep by the validation loss without validation data."""
    return ModelFileError(
        f"{where} has no val_loader, and the validation loss was asked for (metric val)",
        hint="write `def val_loader(): return DataLoader(...)`, or use --metric probe: a batch of the train_loader",
    )
