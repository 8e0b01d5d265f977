"""What the repeats and short runs of one sweep share: the batches that are kept, and how batches are split."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from lrfinder.engine.data.cache import BatchCache
from lrfinder.engine.distributed.judging import JudgedByAll
from lrfinder.engine.distributed.team import Team
from lrfinder.engine.losses.evaluation import PROBE_BATCHES
from lrfinder.engine.losses.judging import Judging
from lrfinder.engine.runtime.failures import environment_failure, out_of_memory
from lrfinder.engine.update.fast_path import BatchInUse
from lrfinder.errors import EnvironmentFailure
from lrfinder.records import Metric, ShortRun, SweepSettings, Trace
from lrfinder.task.problem import BuiltProblem, Problem
from lrfinder.task.split import samples_of, split

NOTABLE = 0.005  # a larger difference is noted: engine/README.md#notable-too_far
EACH = 4  # batches that each of several processes judges, before some are left out so that they come out even
TOO_FAR = 0.1  # a larger difference is refused: engine/README.md#notable-too_far


@dataclass(slots=True)
class MicroBatching:
    """How batches are kept, split and judged. `cache` holds those that are trained on over and over, if that is wanted.

    The gradient of a batch is summed over `micro_batches` parts; `note` says so in words if they are several.
    """

    cache: BatchCache | None = None
    micro_batches: int = 1
    note: str = ""
    in_use: BatchInUse = field(default_factory=BatchInUse)
    judging: Judging = field(default_factory=Judging)
    wasted_updates: int = 0  # of the current record: made before memory ran out
    team: Team | None = None  # the processes that do all this in step; None: this one works by itself
    _least: int = 1  # samples of a part
    _failed_batch: Any = None  # on which memory ran out, until `check` has compared its parts
    _failure: EnvironmentFailure | None = None

    def split(self, batch: Any) -> list[tuple[float, Any]]:
        """Return the parts in which `batch` is computed, with the share of each in its loss."""
        samples = samples_of(batch) if self.micro_batches > 1 else None
        if samples is None:
            return [(1.0, batch)]
        return split(batch, max(1, min(self.micro_batches, samples // self._least)))

    def halve_after_oom(self, error: BaseException, updates: int) -> bool:
        """Compute batches in twice as many parts from now on, if `error` says that memory ran out on one of them.

        Return whether that was so and a further split is possible. Then `updates` are counted as wasted. `error` is not
        kept, since its frames hold the tensors that fill the memory.
        """
        batch, self.in_use.batch = self.in_use.batch, None
        samples = samples_of(batch) if out_of_memory(error) else None
        if samples is None or samples <= self.micro_batches:
            return False
        self._failure = environment_failure(error)
        self._failed_batch = batch
        self.micro_batches = min(2 * self.micro_batches, samples)
        self.wasted_updates += updates
        return True

    def own_share(self, batches: list[Any]) -> list[Any]:
        """Return those of `batches`, which every process has read, that this one judges: as many on each.

        Processes that judged one more than others would wait for them. If the batches don't come out even, the last
        ones are left out, or with fewer than EACH a process all judge all, which has the same mean.
        """
        if self.team is None:
            return batches
        size = self.team.size
        even = len(batches) // size * size
        return batches[:even][self.team.rank :: size] if even == len(batches) or even >= EACH * size else batches

    def carry_on(self, last: Trace | ShortRun) -> None:
        """Go on with the split of `last`, which an earlier process measured."""
        self.micro_batches, self.note = last.micro_batches, last.note if last.micro_batches > 1 else ""

    def noted(self, *others: str) -> str:
        """Return `note` and those of `others` that it doesn't hold already, as a record of an earlier process may."""
        return "; ".join(filter(None, (self.note, *(other for other in others if other not in self.note))))

    def check(self, trial: BuiltProblem, device: torch.device, seed: int) -> None:
        """Compare the loss of the batch that didn't fit with that of its parts, and set `note`.

        If the batch doesn't even fit without a gradient, compare its first part with the halves of that. Raises
        EnvironmentFailure if the losses differ by more than TOO_FAR, or if BatchNorm would get single samples, which
        have no variance.
        """
        batch, self._failed_batch = self._failed_batch, None
        normalized = any(isinstance(module, _BatchNorm) and module.training for module in trial.model.modules())
        self._least = 2 if normalized else 1  # also in a sweep that is carried on
        if batch is None or self._failure is None:
            return
        parts = [part for _, part in self.split(batch)]
        if len(parts) < self.micro_batches and normalized:
            raise self._failure
        difference = self._relative_difference(trial, batch, parts, device, seed)
        if difference is None:  # the whole one doesn't fit, but a part of it and its halves show the same
            halves = [half for _, half in split(parts[0], 2)]
            difference = self._relative_difference(trial, parts[0], halves, device, seed) if len(halves) > 1 else None
        if difference is not None and difference > TOO_FAR:
            raise EnvironmentFailure(
                f"{self._failure}; the batch can't be computed in parts, since its loss is not a mean over samples: "
                f"the parts' mean is {difference:.0%} off",
                hint="let the loss be a mean (reduction='mean'), use a smaller batch (`--batch-size N`) with "
                "`--accumulate`, or another device",
            )
        self.note = _note(self.micro_batches, difference)
        if normalized:
            seen = samples_of(parts[0])
            self.note += f"; BatchNorm saw {seen} samples at a time, so the best rate of whole batches may be another"

    def _relative_difference(
        self, trial: BuiltProblem, batch: Any, parts: list[Any], device: torch.device, seed: int
    ) -> float | None:
        """Return the relative difference of the losses; None if memory runs out on the whole batch."""
        try:
            whole = self.judging.loss(trial, [batch], device=device, seed=seed)
        except Exception as error:
            if not out_of_memory(error):
                raise
            return None
        difference = abs(self.judging.loss(trial, parts, device=device, seed=seed) - whole) / max(abs(whole), 1e-12)
        return difference if math.isfinite(difference) else None


def micro_batching_for(
    problem: Problem, settings: SweepSettings | None, device: torch.device, *, team: Team | None = None
) -> MicroBatching:
    """Return the MicroBatching of a new sweep of `problem`, or without `settings` of other trials."""
    judging = Judging() if team is None else Judging(JudgedByAll(team))
    if settings is None or settings.cache_batches is None:
        return MicroBatching(judging=judging, team=team)
    judged_by_training_data = problem.val_loader is None or settings.metric is Metric.PROBE
    held_out = PROBE_BATCHES if judged_by_training_data else 0
    cache = BatchCache(settings.cache_batches, held_out=held_out, device=device)
    return MicroBatching(cache=cache, judging=judging, team=team)


def _note(count: int, difference: float | None) -> str:
    note = f"memory ran out, so each batch was computed in {count} parts and its gradient summed"
    if difference is None:
        note += "; that this is the same was not checked: it is, if the loss is a mean over samples"
    elif difference > NOTABLE:
        note += f"; the loss is no mean over samples, and that of the parts is {difference:.1%} off"
    return note
