"""Train a LightningModule without a Trainer.

These methods are called: `prepare_data()`, `setup("fit")` and `configure_model()` once the module exists;
`configure_optimizers()`; `train_dataloader()` if the file has no train_loader; and for each batch
`on_before_batch_transfer`, `on_after_batch_transfer` and `training_step`. `self.log` does nothing, because no logger
exists. No other hook runs; `skipped_hooks` returns the hooks that a Trainer would call and that could change an update.

This module never imports Lightning: if a model is a LightningModule, the user's file has already imported it.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from lrfinder.errors import ModelFileError, error_text
from lrfinder.task.calling import accepts_args, describe_value, user_call
from lrfinder.task.combined_loader import combined

_PACKAGES = ("lightning", "pytorch_lightning")  # the new and the old name of the package

_BATCH_HOOKS = ("on_before_batch_transfer", "on_after_batch_transfer")  # they need no Trainer

# The other hooks through which a LightningModule can change the batch, the gradient or the update.
_UPDATE_HOOKS = (
    "transfer_batch_to_device",
    "on_train_start",
    "on_train_epoch_start",
    "on_train_batch_start",
    "on_train_batch_end",
    "on_before_backward",
    "backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "configure_gradient_clipping",
    "optimizer_step",
    "optimizer_zero_grad",
    "on_before_zero_grad",
)

_OF_A_LOGGER = frozenset({"experiment", "log_metrics", "log_image", "log_hyperparams", "log_dir", "save_dir"})
_NO_TRAINER_NOTE = (
    "lrfinder runs the LightningModule without a Trainer, and so without a logger (self.logger is None). "
    "In the model file, define `optimizer(params, lr)` or "
    "`training_step(model, batch)` in place of the method that needs one."
)


def is_lightning_class(kind: type) -> bool:
    """Return whether `kind` derives from LightningModule."""
    return _base(kind) is not None


def is_lightning_module(model: object) -> bool:
    """Return whether `model` is a LightningModule."""
    return is_lightning_class(type(model))


def overrides(model: nn.Module, method: str) -> bool:
    """Return whether `model` is a LightningModule whose class overrides `method`; False for any other module."""
    base = _base(type(model))
    return base is not None and getattr(type(model), method, None) is not getattr(base, method, None)


def skipped_hooks(model: nn.Module) -> tuple[str, ...]:
    """Return the hooks of the module that could change an update, and that lrfinder doesn't call."""
    return tuple(hook for hook in _UPDATE_HOOKS if overrides(model, hook))


def set_up(model: Any) -> None:
    """Call the methods that a Trainer calls before training: `prepare_data()`, `setup("fit")`, `configure_model()`."""
    if getattr(model, "_trainer", None) is not None:
        return  # that Trainer has done it
    with user_call("setting up the LightningModule"), _trainer_explained():
        model.prepare_data()
        model.setup("fit")
        model.configure_model()


def own_train_loader(model: Any) -> Any:
    """Return the result of the LightningModule's `train_dataloader()`; None if the class doesn't override it.

    Several loaders are combined, as a Trainer does it.
    """
    base = _base(type(model))
    if base is None or not overrides(model, "train_dataloader"):
        return None
    with _trainer_explained():
        return combined(model.train_dataloader(), base.__module__.partition(".")[0])


def own_optimizer(model: Any, where: str) -> torch.optim.Optimizer:
    """Return the optimizer that `configure_optimizers()` returns. Schedulers are ignored: the sweep sets the rate.

    Raises ModelFileError if the method returns no optimizer, or several: a sweep has one rate.
    """
    with user_call("calling configure_optimizers()"), _trainer_explained():
        given = model.configure_optimizers()
    optimizers = _optimizers(given)
    if not optimizers or not all(isinstance(optimizer, torch.optim.Optimizer) for optimizer in optimizers):
        raise ModelFileError(
            f"{where}: configure_optimizers() returned {describe_value(given)}",
            hint='return an optimizer, or {"optimizer": ..., "lr_scheduler": ...}',
        )
    if len(optimizers) > 1:
        raise ModelFileError(
            f"{where}: configure_optimizers() returned {len(optimizers)} optimizers, and a sweep has one rate",
            hint="define `optimizers(model, lr)` and `training_step(model, batch)`, which returns the loss of each by "
            "name, in the file",
        )
    return optimizers[0]  # type: ignore[no-any-return]


def _optimizers(given: Any) -> list[Any]:
    """Return the optimizers from any return value that Lightning documents for `configure_optimizers`."""
    if isinstance(given, Mapping):
        return [given.get("optimizer")]
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], list):  # noqa: PLR2004 - with schedulers
        return given[0]
    if isinstance(given, list | tuple):
        return [item.get("optimizer") if isinstance(item, Mapping) else item for item in given]
    return [given]


class LightningLoss:
    """The loss that the LightningModule's own `training_step(batch, batch_idx)` returns."""

    def __init__(self, model: Any, where: str, *, transferred: bool = False) -> None:
        """`transferred`: a Trainer has moved the batches, and called the hooks for that."""
        if not model.automatic_optimization:
            raise ModelFileError(
                f"{where}: {type(model).__name__} sets automatic_optimization = False: it makes its own updates",
                hint="define `optimizer(params, lr)`, or `optimizers(model, lr)` if there are several, and "
                "`training_step(model, batch)` in the file",
            )
        self._takes_index = accepts_args(model.training_step, 2)
        self._index = -1
        self._batch: Any = None  # the batch that has this index: a closure may compute the loss of one batch twice
        self._name = type(model).__name__
        self._hooks = [hook for hook in _BATCH_HOOKS if overrides(model, hook) and not transferred]
        self._given: Any = None  # what the hooks made of that batch
        self._skipped = skipped_hooks(model)

    def __call__(self, model: Any, batch: Any) -> Any:
        """Return the result of `training_step`, or its entry "loss" if the result is a mapping."""
        place = f"calling training_step of {self._name}"
        with user_call(place), _trainer_explained(), _logging_nowhere(model):
            if batch is not self._batch:
                self._index, self._batch, self._given = self._index + 1, batch, batch
                for hook in self._hooks:
                    self._given = getattr(model, hook)(self._given, 0)
            output = model.training_step(self._given, *((self._index,) if self._takes_index else ()))
        return output.get("loss", output) if isinstance(output, Mapping) else output

    def note(self) -> str:
        """Say in words how the loss was found."""
        skipped = f" ({', '.join(self._skipped)} not called)" if self._skipped else ""
        return f"training_step of {self._name}{skipped}"


@contextlib.contextmanager
def _logging_nowhere(model: nn.Module) -> Iterator[None]:
    """Replace `self.log` and `self.print` inside the context: without a Trainer, `log` warns and `print` fails."""
    quiet = {"log": _ignore, "log_dict": _ignore, "print": functools.partial(print, file=sys.stderr)}
    with contextlib.ExitStack() as stack:
        for module in model.modules():
            if is_lightning_module(module):
                # An entry in the instance's dictionary hides the method of the class, until the entry is deleted.
                attributes = vars(module)
                own = {name: attributes[name] for name in quiet if name in attributes}
                stack.callback(_put_back, attributes, quiet, own)
                attributes.update(quiet)
        yield


def _put_back(attributes: dict[str, Any], quiet: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    for name in quiet:
        del attributes[name]
    attributes.update(own)


def _ignore(*_args: object, **_kwargs: object) -> None:
    pass


@contextlib.contextmanager
def _trainer_explained() -> Iterator[None]:
    """If the code misses the Trainer or its logger, add a note that says what the user can do."""
    try:
        yield
    except AttributeError as error:
        if error.obj is None and error.name in _OF_A_LOGGER:
            error.add_note(_NO_TRAINER_NOTE)
        raise
    except RuntimeError as error:
        if "not attached to a `Trainer`" in error_text(error):
            error.add_note(_NO_TRAINER_NOTE)
        raise


def _base(kind: type) -> type | None:
    for parent in kind.__mro__:
        if parent.__name__ == "LightningModule" and parent.__module__.partition(".")[0] in _PACKAGES:
            return parent
    return None
