"""Schedules of other frameworks as configs: one file per source."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from lrfinder.config import ScheduleConfig
from lrfinder.errors import UsageError
from lrfinder.importing.match import TOLERANCE
from lrfinder.optimizers import check_name

__all__ = ["TOLERANCE", "import_schedule"]


def import_schedule(
    source: Any,
    *,
    steps: int | None = None,
    epoch: int | None = None,
    optimizer: str | None = None,
    tolerance: float = TOLERANCE,
) -> ScheduleConfig:
    """Return the config whose f(t) is the rate that another framework's schedule uses at update t = 0 ... T - 1.

    `source` is one of

    - a live scheduler of torch.optim.lr_scheduler, with `steps` = T if it doesn't know its length. It is imported
      from its beginning (initial_lr, last_epoch = -1), also if it has advanced. Its rates are those that a copy of
      it sets, one `step()` for each update, or with `epoch` = N one for each N of them; itself, its optimizer and the
      random number generators stay as they are.
      Several param groups need one curve; the config keeps their ratios.
    - Hugging Face's `TrainingArguments`: the object, a mapping, or the path of a YAML, JSON or TOML file of such
      arguments, with `steps` if `max_steps` doesn't say T. `optimizer` names the class if `optim` doesn't.

    A named shape is written if it is within `tolerance` (in multiples of the peak, 1e-9) of the framework's rate at
    every update, else the shape `table`. `evidence.why` says which, and why. Past the last update our shapes hold,
    whatever the framework does there.

    Raises UsageError if there is no such config: rates that wait for a metric, groups with different curves, no
    length; ConfigError for a file that isn't valid.
    """
    if not 0 <= tolerance <= 1:
        raise UsageError(f"tolerance must be from 0 to 1, a share of the peak, got {tolerance:g}")
    if optimizer is not None:
        try:
            check_name(optimizer)
        except ValueError as error:
            raise UsageError(f"optimizer: {error}") from None
    if epoch is not None and (isinstance(source, str | os.PathLike | Mapping) or hasattr(source, "lr_scheduler_type")):
        raise UsageError("transformers' schedulers are stepped for each update", hint=f"leave epoch={epoch!r} out")
    if isinstance(source, str | os.PathLike):
        from lrfinder.importing.arguments_file import import_file

        return import_file(source, steps=steps, optimizer=optimizer, tolerance=tolerance)
    if isinstance(source, Mapping) or hasattr(source, "lr_scheduler_type"):
        from lrfinder.importing.training_arguments import import_arguments

        return import_arguments(source, steps=steps, optimizer=optimizer, tolerance=tolerance)
    if optimizer is not None:
        raise UsageError("a live scheduler has its optimizer", hint=f"leave optimizer={optimizer!r} out")
    from lrfinder.importing.live import import_scheduler

    return import_scheduler(source, steps=steps, epoch=epoch, tolerance=tolerance)
