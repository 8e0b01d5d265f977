"""Plain torch: a class of its own if it is exact, else a LambdaLR."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lrfinder.config import ScheduleConfig
from lrfinder.export.base import Export, Exporter, comment, factor_of
from lrfinder.export.optimizers import peaks_source
from lrfinder.export.pieces import drops, plain
from lrfinder.export.plateau import plateau_torch

_CHECKED = "Checked with torch 2.13, update by update."

_MAKE = '''\
def make_scheduler(optimizer):
    """Return the scheduler of an optimizer; call its step() after every optimizer.step()."""
    _set_peaks(optimizer)
    return lr_scheduler.{scheduler}
'''


def torch_code(config: ScheduleConfig) -> Export:
    """Return a module with `make_scheduler(optimizer)`."""
    own = plain_class(config)
    if own is None:
        notes = ["No class of torch's is this schedule: LambdaLR calls the function below."]
        body = "\n\n" + factor_of(config)
        scheduler, start = "LambdaLR(optimizer, factor)", "import math\n\n"
    else:
        notes = ["torch's own class is exact for the updates of the run; past its end it goes on as torch does."]
        body, scheduler, start = "", own, ""
    text = (
        f"{comment(config, *notes, _CHECKED)}\n{start}from torch.optim import lr_scheduler\n\n"
        f"PEAK = {config.optimizer.lr!r}\n"
        f"{body}\n\n{peaks_source(config)}\n\n{_MAKE.format(scheduler=scheduler)}"
    )
    return Export(text=text, preset=own.split("(", maxsplit=1)[0] if own is not None else None)


def plain_class(config: ScheduleConfig) -> str | None:
    """Return the call of torch's own scheduler that is this schedule, or None.

    With a warm-up there is none: torch would need SequentialLR, whose composites differ between its versions.
    """
    it: Any = plain(config).schedule
    if it.warmup:
        return None
    single = it.steps  # without a warm-up the decay is the whole run
    exact: dict[str, Callable[[], str | None]] = {
        "constant": lambda: "ConstantLR(optimizer, factor=1.0)",
        "linear": lambda: f"LinearLR(optimizer, start_factor=1.0, end_factor={it.final!r}, total_iters={single})",
        "cosine": lambda: f"CosineAnnealingLR(optimizer, T_max={single})" if it.final == 0 else None,
        "step": lambda: f"StepLR(optimizer, step_size={it.every}, gamma={it.drop!r})",
        "multi-step": lambda: _drops(it),
        "geometric": lambda: _drops(it),
        "exponential": lambda: _exponential(it),
        "polynomial": lambda: _polynomial(it),
        "cosine-restarts": lambda: _restarts(it),
    }
    return exact[it.name]() if it.name in exact else None


def _exponential(it: Any) -> str:
    if it.staircase:
        return f"StepLR(optimizer, step_size={it.every}, gamma={it.base!r})"
    return f"ExponentialLR(optimizer, gamma={it.base ** (1 / it.every)!r})"


def _drops(it: Any) -> str | None:
    listed = drops(it)
    return None if listed is None else f"MultiStepLR(optimizer, milestones={listed[0]}, gamma={listed[1]!r})"


def _polynomial(it: Any) -> str | None:
    if it.cycle or it.final != 0:
        return None
    return f"PolynomialLR(optimizer, total_iters={it.over or it.steps}, power={it.power!r})"


def _restarts(it: Any) -> str | None:
    if it.final != 0 or it.shrink != 1 or it.growth != int(it.growth):
        return None
    return f"CosineAnnealingWarmRestarts(optimizer, T_0={it.first}, T_mult={int(it.growth)})"


EXPORTER = Exporter(title="a plain torch module", export=torch_code, plateau=plateau_torch, groups=True)
