"""The scheduler of a shape that moves the momentum too."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer

from lrfinder.errors import UsageError
from lrfinder.scheduler.configured import ConfiguredScheduler


class MomentumScheduler(ConfiguredScheduler):
    """The scheduler of a shape that moves the momentum too: `momentum` of every param group, or the first of `betas`.

    Raises UsageError if a param group has neither.
    """

    def __init__(self, optimizer: Optimizer, **keywords: Any) -> None:
        groups = getattr(optimizer, "param_groups", [])
        if not all("momentum" in group or isinstance(group.get("betas"), tuple) for group in groups):
            raise UsageError(
                f"the schedule moves the momentum, but {type(optimizer).__name__} has none",
                hint="remove `momentums` from the config, or use an optimizer with momentum or betas",
            )
        super().__init__(optimizer, **keywords)

    def _factor(self) -> float:
        # Set here, as torch's own schedulers do: every change of position computes the rates.
        momentum = self.schedule.momentum(self.last_epoch)
        for group in self.optimizer.param_groups:
            if "momentum" in group:
                group["momentum"] = momentum
            else:
                group["betas"] = (momentum, *group["betas"][1:])
        return super()._factor()
