"""What all repeats and short runs of one sweep share of their batches."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch

from lrfinder.engine.cached import CachedBatches
from lrfinder.engine.evaluation import PROBE_BATCHES
from lrfinder.records import Metric, Setup, SweepSettings
from lrfinder.task.problem import Problem


@dataclass(slots=True)
class Batching:
    """`cache` holds the batches that are trained on over and over; None: all that come are trained on."""

    cache: CachedBatches | None = None

    def noted(self, setup: Setup) -> Setup:
        """Return `setup` with the number of batches that are trained on over and over."""
        return setup if self.cache is None else dataclasses.replace(setup, cached_batches=len(self.cache))


def batching_of(problem: Problem, settings: SweepSettings, device: torch.device) -> Batching:
    """Return what a sweep of `problem` shares at its beginning."""
    if settings.cache_batches is None:
        return Batching()
    judged_by_training_data = problem.val_loader is None or settings.metric is Metric.PROBE
    held_out = PROBE_BATCHES if judged_by_training_data else 0
    return Batching(cache=CachedBatches(settings.cache_batches, held_out=held_out, device=device))
