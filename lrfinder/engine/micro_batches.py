"""What all repeats and short runs of one sweep share of their batches: those that are kept, and how they are split."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from lrfinder.engine.data.cache import BatchCache
from lrfinder.engine.losses.evaluation import PROBE_BATCHES, evaluate
from lrfinder.engine.runtime.failures import environment_failure, out_of_memory
from lrfinder.engine.update.fast_path import BatchInUse
from lrfinder.errors import EnvironmentFailure
from lrfinder.records import Metric, ShortRun, SweepSettings, Trace
from lrfinder.task.problem import BuiltProblem, Problem
from lrfinder.task.split import samples_of, split

# Relative difference between the loss of a batch and that of its parts. Sums in another order differ by a millionth in
# float32, by a thousandth in half precision: more says that the loss weighs samples otherwise (words without padding,
# for one). A loss that is a sum halves with each split, and with it the gradient: that would be another rate.
NOTABLE = 0.005
TOO_FAR = 0.1


@dataclass(slots=True)
class MicroBatching:
    """`cache` holds the batches that are trained on over and over; None: all that come are trained on.

    `micro_batches` is the number of parts that the gradient of a batch is summed over, and `note` says so in words.
    """

    cache: BatchCache | None = None
    micro_batches: int = 1
    note: str = ""
    in_use: BatchInUse = field(default_factory=BatchInUse)
    wasted_updates: int = 0  # of the record that is being made: spent before memory ran out
    _least: int = 1  # samples of a part
    _refused: Any = None  # the one that memory ran out on, until the split has been checked on it
    _failure: EnvironmentFailure | None = None

    def split(self, batch: Any) -> list[tuple[float, Any]]:
        """Return the parts that `batch` is computed in, with the share of each in its loss."""
        samples = samples_of(batch) if self.micro_batches > 1 else None
        if samples is None:
            return [(1.0, batch)]
        return split(batch, max(1, min(self.micro_batches, samples // self._least)))

    def halve_after_oom(self, error: BaseException, updates: int) -> bool:
        """Compute batches in twice as many parts from here on, if `error` says that memory ran out on one of them.

        Return whether that was so and could be done; `updates` were spent in vain then. Nothing of `error` is kept: its
        frames hold the tensors that fill the memory.
        """
        batch, self.in_use.batch = self.in_use.batch, None
        samples = samples_of(batch) if out_of_memory(error) else None
        if samples is None or samples <= self.micro_batches:
            return False
        self._failure = environment_failure(error)
        self._refused = batch
        self.micro_batches = min(2 * self.micro_batches, samples)
        self.wasted_updates += updates
        return True

    def carry_on(self, last: Trace | ShortRun) -> None:
        """Begin where `last`, which an earlier process measured, left off."""
        self.micro_batches, self.note = last.micro_batches, last.note

    def check(self, trial: BuiltProblem, device: torch.device, seed: int) -> None:
        """Compare the loss of the batch that didn't fit with that of its parts, where it fits without a gradient.

        Where it doesn't, the loss of the first part with that of its halves.

        Raises EnvironmentFailure, the one that memory ran out with, where they differ by more than TOO_FAR, and where
        BatchNorm would get single samples, which have no variance.
        """
        batch, self._refused = self._refused, None
        if batch is None or self._failure is None:
            return
        normalized = any(isinstance(module, _BatchNorm) and module.training for module in trial.model.modules())
        self._least = 2 if normalized else 1
        parts = [part for _, part in self.split(batch)]
        if len(parts) < self.micro_batches and normalized:
            raise self._failure
        apart = _relative_difference(trial, batch, parts, device, seed)
        if apart is None:  # the whole one doesn't fit: a part of it and its halves tell as much
            halves = [half for _, half in split(parts[0], 2)]
            apart = _relative_difference(trial, parts[0], halves, device, seed) if len(halves) > 1 else None
        if apart is not None and apart > TOO_FAR:
            raise EnvironmentFailure(
                f"{self._failure}; the batch can't be computed in parts, since its loss is not a mean over samples: "
                f"the parts' mean is {apart:.0%} off",
                hint="let the loss be a mean (reduction='mean'), use a smaller batch (`--batch-size N`) with "
                "`--accumulate`, or another device",
            )
        self.note = _note(self.micro_batches, apart)
        if normalized:
            seen = samples_of(parts[0])
            self.note += f"; BatchNorm saw {seen} samples at a time, so the best rate of whole batches may be another"


def micro_batching_for(problem: Problem, settings: SweepSettings, device: torch.device) -> MicroBatching:
    """Return what a sweep of `problem` shares at its beginning."""
    if settings.cache_batches is None:
        return MicroBatching()
    judged_by_training_data = problem.val_loader is None or settings.metric is Metric.PROBE
    held_out = PROBE_BATCHES if judged_by_training_data else 0
    return MicroBatching(cache=BatchCache(settings.cache_batches, held_out=held_out, device=device))


def _relative_difference(
    trial: BuiltProblem, batch: Any, parts: list[Any], device: torch.device, seed: int
) -> float | None:
    """Return the relative difference of the losses; None where the whole one can't be computed."""
    try:
        whole = evaluate(trial, [batch], device=device, seed=seed)
    except Exception as error:
        if not out_of_memory(error):
            raise
        return None
    apart = abs(evaluate(trial, parts, device=device, seed=seed) - whole) / max(abs(whole), 1e-12)
    return apart if math.isfinite(apart) else None


def _note(count: int, apart: float | None) -> str:
    note = f"memory ran out, so each batch was computed in {count} parts and its gradient summed"
    if apart is None:
        note += "; that this is the same was not checked: it is, where the loss is a mean over samples"
    elif apart > NOTABLE:
        note += f"; the loss is no mean over samples, and that of the parts is {apart:.1%} off"
    return note
