"""The description of what is swept, for the run folder."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterable
from typing import Any

import torch

from lrfinder.engine.runtime.device import device_title
from lrfinder.engine.runtime.memory import device_memory
from lrfinder.errors import visible
from lrfinder.records import Inspection, Setup
from lrfinder.task.checkpoint.begin import describe_start
from lrfinder.task.first_loss import FirstLoss, shapes_of
from lrfinder.task.lightning import skipped_hooks
from lrfinder.task.loader import batch_size_of, batches_per_epoch
from lrfinder.task.optimizers.build import optimizer_facts
from lrfinder.task.problem import BuiltProblem, Problem
from lrfinder.version import VERSION


def inspect_batch(trial: BuiltProblem, batch: Any, seen: FirstLoss, device: torch.device) -> Inspection:
    """Return what the first batch shows; `seen` has watched its loss."""
    groups = [
        (sum(weight.numel() for weight in group["params"] if weight.requires_grad), ratio)
        for group, ratio in zip(trial.optimizer.param_groups, trial.group_ratios, strict=True)
    ]
    return Inspection(
        shapes=shapes_of(batch),
        groups=tuple(groups),
        memory=device_memory(device),
        kind=seen.kind,
        loss=seen.loss if seen.loss is not None and math.isfinite(seen.loss) else None,
        constant=seen.constant,
        probabilities=seen.probabilities,
    )


def describe_setup(
    problem: Problem,
    trial: BuiltProblem,
    device: torch.device,
    *,
    cached_batches: int | None,
    graph: str | None,
    loader: Iterable[Any] | None = None,
    processes: int | None = None,
    sharding: str = "",
    strategy: str = "",
) -> Setup:
    """Return the setup of a sweep of `trial`; call it after the first batch (see `BuiltProblem.loss_note`).

    Of several `processes` each has its `loader`; `sharding` says how they divide the data, `strategy` how
    they share the model.
    """
    taken = problem.training.accumulate
    loader = trial.loader if loader is None else loader
    size, batches = batch_size_of(loader), batches_per_epoch(loader)
    return Setup(
        model=visible(problem.name),
        parameters=sum(parameter.numel() for parameter in trial.model.parameters()),
        loss=visible(trial.loss_note()),
        optimizer=optimizer_facts(trial.parts, trial.optimizer_note, trial.own_lr),
        batch_size=None if size is None else size * taken * (processes or 1),
        # What is left at the end of a pass makes an update too, in the loops of Lightning and transformers.
        batches_per_epoch=None if batches is None else math.ceil(batches / taken),
        device=device_title(device),
        torch=str(torch.__version__),  # an object of torch otherwise, which imports it where it is unpickled
        python=platform.python_version(),
        lrfinder=VERSION,
        cached_batches=cached_batches,
        graph=graph,
        processes=processes,
        batch_per_process=size if processes is not None else None,
        sharding=sharding,
        strategy=strategy,
        start=None if problem.start is None else describe_start(problem.start, trial.group_ratios),
        skipped_hooks=skipped_hooks(trial.model) if problem.training_step is None else (),
    )
