"""The description of what is swept, for the run folder."""

from __future__ import annotations

import math
import platform

import torch

from lrfinder.engine.runtime.device import device_title
from lrfinder.errors import visible
from lrfinder.records import Setup
from lrfinder.task.checkpoint.begin import describe_start
from lrfinder.task.lightning import skipped_hooks
from lrfinder.task.loader import batch_size_of, batches_per_epoch
from lrfinder.task.optimizers.build import optimizer_facts
from lrfinder.task.problem import BuiltProblem, Problem
from lrfinder.version import VERSION


def describe_setup(
    problem: Problem,
    trial: BuiltProblem,
    device: torch.device,
    *,
    cached_batches: int | None,
    graph: str | None,
) -> Setup:
    """Return the setup of a sweep of `trial`; call it after the first batch (see `Trial.loss_note`)."""
    taken = problem.training.accumulate
    size, batches = batch_size_of(trial.loader), batches_per_epoch(trial.loader)
    return Setup(
        model=visible(problem.name),
        parameters=sum(parameter.numel() for parameter in trial.model.parameters()),
        loss=visible(trial.loss_note()),
        optimizer=optimizer_facts(trial.parts, trial.optimizer_note),
        batch_size=None if size is None else size * taken,
        # What is left at the end of a pass makes an update too, in the loops of Lightning and transformers.
        batches_per_epoch=None if batches is None else math.ceil(batches / taken),
        device=device_title(device),
        torch=torch.__version__,
        python=platform.python_version(),
        lrfinder=VERSION,
        cached_batches=cached_batches,
        graph=graph,
        start=None if problem.start is None else describe_start(problem.start, trial.group_ratios),
        skipped_hooks=skipped_hooks(trial.model) if problem.training_step is None else (),
    )
