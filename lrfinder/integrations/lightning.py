"""The learning rate of a Lightning run, found by a callback at its start, with the Trainer's own batches and optimizer.

from lrfinder.integrations.lightning import LRFinderCallback

finder = LRFinderCallback()
Trainer(callbacks=[finder], ...).fit(module)
print(finder.advice)
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback

from lrfinder.api.recommend import Recommendation, recommend
from lrfinder.errors import UsageError
from lrfinder.options import Precision

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer
    from torch import Tensor, nn

_PRECISIONS: Mapping[str, Precision] = MappingProxyType(
    {"32-true": Precision.AUTO, "16-mixed": Precision.FP16, "bf16-mixed": Precision.BF16}
)
_RATES = ("lr", "initial_lr", "max_lr", "min_lr")  # of a param group, as torch's schedulers keep them
_BASES = ("base_lrs", "max_lrs", "min_lrs")  # of a scheduler


class LRFinderCallback(Callback):
    """Sweep at the start of `fit`, keep the `advice`, and let the run go on at the recommended rate.

    The batches, their transfer to the device, `training_step`, the optimizer, precision, accumulation and clipping are
    the Trainer's. `self.trainer` may be used; `self.log` does nothing in the sweep, and hooks of the loop such as
    `on_before_optimizer_step` aren't called. Module, optimizer and random number generators come back bit for bit.

    With `apply` the rates of all param groups, and what schedulers remember of them, are scaled so that the peak is the
    recommended rate; the module's own schedulers go on. An uncertain rate is applied too; if none is recommended,
    nothing changes. In a `fast_dev_run` no sweep is made, and a warning says so. `options` are keywords of
    `lrfinder.sweep`. Raises UsageError for several optimizers, devices or loaders, for other precisions than 32-true,
    16-mixed and bf16-mixed, and if the module makes its own updates.
    """

    def __init__(self, *, apply: bool = True, **options: Any) -> None:
        super().__init__()
        self.apply = apply
        self.options = options
        self.advice: Recommendation | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Sweep, and apply."""
        from lrfinder.api.sweep import sweep
        from lrfinder.task.lightning import LightningLoss

        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            warnings.warn("fast_dev_run: no learning rate is looked for", stacklevel=2)
            return
        precision = _checked(trainer, pl_module)
        trainer.fit_loop.setup_data()
        loss = LightningLoss(pl_module, "LRFinderCallback", transferred=True)

        def training_step(model: nn.Module, batch: Any) -> Tensor:
            moved = trainer.strategy.batch_to_device(trainer.precision_plugin.convert_input(batch), dataloader_idx=0)
            value: Tensor = loss(model, moved)
            return value

        clipped = f"clip_{trainer.gradient_clip_algorithm or 'norm'}"
        clip: dict[str, Any] = {clipped: trainer.gradient_clip_val or None}
        result = sweep(
            pl_module,
            train_loader=trainer.train_dataloader,
            training_step=training_step,
            optimizer=trainer.optimizers[0],
            precision=precision,
            accumulate=trainer.accumulate_grad_batches,
            device=str(trainer.strategy.root_device),
            **clip,
            **self.options,
        )
        steps = trainer.estimated_stepping_batches
        self.advice = recommend(result, steps=int(steps) if steps != float("inf") else None)
        if self.apply and self.advice.lr is not None:
            _set_peak(trainer, self.advice.lr, result.setup.optimizer.group_ratios)


def _checked(trainer: Trainer, module: LightningModule) -> Precision:
    """Return the precision of the run; raise UsageError for what can't be swept."""
    if not module.automatic_optimization:
        raise UsageError("the module makes its own updates (automatic_optimization = False): it can't be swept so")
    if trainer.world_size > 1:
        raise UsageError("the run has several processes: it can't be swept", hint="sweep with devices=1")
    if len(trainer.optimizers) != 1:
        raise UsageError(f"the module has {len(trainer.optimizers)} optimizers, and a sweep has one rate")
    if trainer.precision not in _PRECISIONS:
        raise UsageError(f"precision {trainer.precision} can't be swept", hint=f"use {', '.join(_PRECISIONS)}")
    return _PRECISIONS[trainer.precision]


def _set_peak(trainer: Trainer, lr: float, ratios: tuple[float, ...]) -> None:
    """Scale the rates of the optimizer and of its schedulers so that the peak of group i is lr * ratios[i]."""
    groups = trainer.optimizers[0].param_groups
    peaks = [float(group.get("max_lr") or group.get("initial_lr") or group["lr"]) for group in groups]
    # A group at rate 0 stays there: its ratio is 0, too.
    factors = [lr * ratio / peak if peak else 1.0 for peak, ratio in zip(peaks, ratios, strict=True)]
    for group, factor in zip(groups, factors, strict=True):
        for name in _RATES:
            if group.get(name) is not None:
                group[name] = group[name] * factor  # a new tensor, if it is one: groups may share it
    for scheduler in (inner for config in trainer.lr_scheduler_configs for inner in _with_inner(config.scheduler)):
        for name in _BASES:
            bases = getattr(scheduler, name, None)
            if isinstance(bases, list) and len(bases) == len(factors):
                setattr(scheduler, name, [base * factor for base, factor in zip(bases, factors, strict=True)])


def _with_inner(scheduler: Any) -> Iterator[Any]:
    """Yield a scheduler, and those that a SequentialLR or a ChainedScheduler is made of."""
    yield scheduler
    for inner in getattr(scheduler, "_schedulers", ()):
        yield from _with_inner(inner)
