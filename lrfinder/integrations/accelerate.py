"""The learning rate of a loop with Hugging Face Accelerate: its prepared model, optimizer and loader, and your loss.

from lrfinder.integrations.accelerate import find_lr

model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
advice = find_lr(accelerator, model, optimizer, loader, lambda model, batch: model(**batch).loss, epochs=3)
scheduler = advice.schedule.scheduler(optimizer)
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from lrfinder.api.recommend import Recommendation, recommend
from lrfinder.errors import UsageError
from lrfinder.options import Precision

if TYPE_CHECKING:
    from torch import Tensor, nn


def find_lr(
    accelerator: Any,
    model: nn.Module,
    optimizer: Any,
    dataloader: Any,
    step: Callable[[nn.Module, Any], Tensor],
    *,
    steps: int | None = None,
    epochs: float | None = None,
    schedule: str | None = None,
    warmup: int | None = None,
    **options: Any,
) -> Recommendation:
    """Sweep what `accelerator.prepare` returned, and recommend a rate for the coming run.

    `step(model, batch)` returns the loss of a batch, as your loop computes it, not divided by anything; it makes no
    backward pass. The Accelerator's `gradient_accumulation_steps` and `mixed_precision` count. Clipping is a call of
    your loop: give the same number as `clip_norm` or `clip_value`. The run is `steps` updates or `epochs` long;
    `schedule` and `warmup` are those of `lrfinder.recommend`, and other `options` keywords of `lrfinder.sweep`.

    The optimizer inside the prepared one is stepped: Accelerate's own does nothing between the batches of an
    accumulation. All objects, the Accelerator's counters and the random number generators are as before, bit for bit.

    Raises UsageError for several processes, and for a model that isn't prepared though a precision was asked for; all
    else is as in `lrfinder.sweep`.
    """
    from lrfinder.api.sweep import sweep

    precision = _precision(accelerator, model)
    with _counters_preserved(accelerator):
        result = sweep(
            model,
            train_loader=dataloader,
            training_step=step,
            optimizer=optimizer,
            precision=precision,
            accumulate=accelerator.gradient_accumulation_steps,
            device=str(accelerator.device),
            **options,
        )
    return recommend(result, steps=steps, epochs=epochs, schedule=schedule, warmup=warmup)


def _precision(accelerator: Any, model: nn.Module) -> Precision:
    """Return what the sweep adds to the prepared model, which computes in the mixed precision by itself."""
    from accelerate.utils import DistributedType

    if accelerator.distributed_type != DistributedType.NO:
        raise UsageError(
            f"the Accelerator has {accelerator.num_processes} processes by {accelerator.distributed_type.value}: it "
            "can't be swept in one",
            hint="sweep in a script of one process with the same batch, by more gradient_accumulation_steps",
        )
    asked = accelerator.mixed_precision
    if asked not in {"no", "fp16", "bf16"}:
        raise UsageError(f"mixed_precision {asked!r} can't be swept", hint="use no, fp16 or bf16")
    if asked != "no" and not hasattr(model, "_original_forward"):  # what `prepare` keeps beside the new one
        raise UsageError(
            f"the model isn't prepared, so it doesn't compute in {asked}",
            hint="give what accelerator.prepare(model, optimizer, dataloader) returned",
        )
    return Precision.FP16 if asked == "fp16" else Precision.AUTO  # it alone needs a loss scaler


@contextlib.contextmanager
def _counters_preserved(accelerator: Any) -> Iterator[None]:
    """Put back where the Accelerator is in an accumulation, and in which loader."""
    from lrfinder.engine.restore.snapshot import Snapshot

    shared = Snapshot([vars(accelerator.gradient_state)])
    step = accelerator.step
    try:
        yield
    finally:
        shared.rewind()
        accelerator.step = step
