"""The learning rate of a Hugging Face `Trainer`: its own batches, loss, optimizer, precision and accumulation.

from lrfinder.integrations.huggingface import find_lr

advice = find_lr(trainer)
advice.apply(trainer)
trainer.train()
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lrfinder.api.recommend import Recommendation, recommend
from lrfinder.errors import UsageError
from lrfinder.options import Precision

if TYPE_CHECKING:
    from torch import Tensor, nn

_PLAIN = (type(None), bool, int, float, str)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class TrainerAdvice(Recommendation):
    """What `find_lr` returns: a recommendation that can be applied to a Trainer."""

    def apply(self, trainer: Any) -> None:
        """Let the coming `trainer.train()` use the recommended rate and schedule, exactly f(t) at update t.

        Sets `args.learning_rate`, `optimizer` and `lr_scheduler`. Raises UsageError if no rate was recommended.
        """
        if self.lr is None or self.schedule is None:
            raise UsageError(f"there is no rate to apply: {self.why}", hint=self.hint)
        trainer.args.learning_rate = self.lr
        trainer.lr_scheduler = self.schedule.scheduler(trainer.create_optimizer())


def find_lr(
    trainer: Any,
    *,
    steps: int | None = None,
    schedule: str | None = None,
    warmup: int | None = None,
    **options: Any,
) -> TrainerAdvice:
    """Sweep what a `transformers.Trainer` would train, and recommend a rate for its run.

    The batches come from `get_train_dataloader()`, the loss from `compute_loss()`, and the optimizer from
    `create_optimizer()`. `bf16`, `fp16`, `gradient_accumulation_steps` and `max_grad_norm` of its arguments count. The
    coming run is as long as those arguments say, or `steps` updates. Other `options` are keywords of `lrfinder.sweep`.
    Subclasses such as TRL's SFTTrainer and models of PEFT are taken as they are; frozen weights stay frozen. Activation
    checkpoints and NEFTune's noise, which `train()` turns on, are on in the sweep.

    Model, trainer and random number generators are as they were before, bit for bit. With gradient accumulation each
    batch counts alike, where the Trainer weighs tokens. The rate is not verified, since that needs a model file.

    Raises UsageError for a Trainer on several devices and for one without a length; all else is as in `sweep`.
    """
    from lrfinder.api.sweep import sweep

    _refuse_many_devices(trainer)
    args = trainer.args

    def training_step(model: nn.Module, batch: Any) -> Tensor:
        inputs = trainer._prepare_inputs(batch)  # noqa: SLF001 - what subclasses of Trainer call
        with trainer.compute_loss_context_manager():
            loss: Tensor = trainer.compute_loss(model, inputs)
        return loss

    with _put_back(trainer), _as_in_training(trainer):
        loader = trainer.get_train_dataloader()
        length = steps or _length(args, loader)
        result = sweep(
            trainer.model,
            train_loader=loader,
            training_step=training_step,
            optimizer=trainer.create_optimizer(),
            precision=Precision.FP16 if args.fp16 else Precision.BF16 if args.bf16 else Precision.AUTO,
            accumulate=args.gradient_accumulation_steps,
            clip_norm=args.max_grad_norm or None,
            device=str(args.device),
            **options,
        )
    found = recommend(result, steps=length, schedule=schedule, warmup=warmup)
    return TrainerAdvice(**{field.name: getattr(found, field.name) for field in dataclasses.fields(found)})


def _length(args: Any, loader: Any) -> int:
    """Return the updates of the run that the arguments ask for, as the Trainer counts them."""
    if args.max_steps > 0:
        return int(args.max_steps)
    try:
        batches = len(loader)
    except TypeError:
        raise UsageError("the train dataset has no length", hint="set max_steps, or give find_lr(steps=...)") from None
    updates: int = max(1, math.ceil(batches / args.gradient_accumulation_steps))
    epochs: float = args.num_train_epochs
    return max(1, math.ceil(epochs * updates))


def _refuse_many_devices(trainer: Any) -> None:
    args = trainer.args
    if args.world_size > 1 or args.n_gpu > 1 or trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled:
        raise UsageError(
            "the Trainer trains on several devices, by DeepSpeed or FSDP: it can't be swept in one process",
            hint="sweep on one device with the same batch, by more gradient_accumulation_steps",
        )


@contextlib.contextmanager
def _put_back(trainer: Any) -> Iterator[None]:
    """Put the trainer's attributes back afterwards; numbers that a `compute_loss` collects in lists, too."""
    from lrfinder.engine.restore.containers import is_container
    from lrfinder.engine.restore.snapshot import Snapshot

    before = dict(vars(trainer))
    collected = Snapshot(value for value in before.values() if is_container(value) and _is_plain(value))
    try:
        yield
    finally:
        vars(trainer).clear()
        vars(trainer).update(before)
        collected.rewind()


@contextlib.contextmanager
def _as_in_training(trainer: Any) -> Iterator[None]:
    """Turn on what `train()` turns on in the model, by transformers 5.0's names or today's; undone afterwards."""
    model, args = trainer.model, trainer.args
    with contextlib.ExitStack() as undone:
        kind = "activation" if hasattr(args, "activation_checkpointing") else "gradient"
        already = any(getattr(module, "gradient_checkpointing", False) for module in model.modules())
        if getattr(args, f"{kind}_checkpointing") and not already:
            given = dict(getattr(args, f"{kind}_checkpointing_kwargs") or {})
            of_its_own = {key: given.pop(key) for key in ("every_n_layers", "offload") if key in given}
            enable = getattr(model, f"{kind}_checkpointing_enable")
            undone.callback(getattr(model, f"{kind}_checkpointing_disable"))
            if not getattr(model, "_require_grads_hooks", None) and hasattr(model, "disable_input_require_grads"):
                undone.callback(model.disable_input_require_grads)  # which the other one leaves on
            enable(**{f"{kind}_checkpointing_kwargs": given or None}, **of_its_own)
        if trainer.neftune_noise_alpha is not None:
            try:
                from transformers.integrations import neftune
            except ImportError:
                trainer._activate_neftune(model)  # noqa: SLF001 - before it was moved
                undone.callback(trainer._deactivate_neftune, model)  # noqa: SLF001
            else:
                activate: Any = neftune.activate_neftune
                handle = activate(model, trainer.neftune_noise_alpha, trainer.accelerator)
                undone.callback(neftune.deactivate_neftune, model, handle, trainer.accelerator)
        yield


def _is_plain(value: Any) -> bool:
    """Tell whether a value is numbers and texts all through, in lists and dicts or alone."""
    if isinstance(value, dict):
        return all(_is_plain(key) and _is_plain(part) for key, part in value.items())
    if isinstance(value, list | tuple | set):
        return all(_is_plain(part) for part in value)
    return isinstance(value, _PLAIN)
