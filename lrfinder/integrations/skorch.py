"""The learning rate of a skorch net: its module, criterion, optimizer, batches and validation split.

from lrfinder.integrations.skorch import find_lr

advice = find_lr(net, X, y)
net.set_params(lr=advice.lr)
net.fit(X, y)
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lrfinder.api.recommend import Recommendation, recommend
from lrfinder.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

_OWN_LOOP = "in a loop of your own it can be: lrfinder.attach(net.optimizer_, net.module_)"


def find_lr(
    net: Any,
    X: Any,  # noqa: N803 - scikit-learn's names
    y: Any = None,
    *,
    goes_on: bool = False,
    epochs: int | None = None,
    schedule: str | None = None,
    warmup: int | None = None,
    **options: Any,
) -> Recommendation:
    """Sweep what `net.fit(X, y)` would train, and recommend a rate for its run of `epochs`, or `max_epochs`.

    The batches come from `iterator_train`, the loss from `get_loss`, the optimizer from the net; with a `train_split`
    the short runs are judged by its validation part, by the loss on it. A GradientNormClipping callback counts, and so
    does what a Freezer or another ParamMapper does at the beginning of its next epoch. A net
    that `fit` would initialize is swept in a copy. With `warm_start`, and for a `partial_fit` that `goes_on`, an
    initialized net is swept from the weights that it has, and comes back as it was, bit for bit. Other `options` are
    keywords of `lrfinder.sweep`.

    Raises UsageError for several modules or optimizers, for AccelerateMixin, for a clipping that isn't by the 2-norm,
    and for a class that makes its training steps itself; all else is as in `lrfinder.sweep`.
    """
    import torch
    from sklearn.base import clone

    from lrfinder.api.sweep import sweep
    from lrfinder.engine.runtime.rng import remember_global_state

    device = str(net.device or "cpu")
    put_generators_back = remember_global_state(torch.device(device))
    with contextlib.ExitStack() as stack:
        stack.callback(put_generators_back)
        live = net.initialized_ and (goes_on or net.warm_start)
        trained = net if live else clone(net).initialize()
        _refuse_what_is_not_read(trained)
        train_set, valid_set = trained.get_split_datasets(X, y)
        loader = trained.get_iterator(train_set, training=True)
        criterion = trained.criterion_
        stack.enter_context(_epoch_begun(trained))

        def training_step(_model: nn.Module, batch: Any) -> Tensor:
            from skorch.dataset import unpack_data

            inputs, targets = unpack_data(batch)
            criterion.train(trained.module_.training)  # named here: what a step refers to comes back as it was
            loss: Tensor = trained.get_loss(trained.infer(inputs), targets, X=inputs, training=trained.module_.training)
            return loss

        result = sweep(
            trained.module_,
            train_loader=loader,
            val_loader=None if valid_set is None else trained.get_iterator(valid_set, training=False),
            training_step=training_step,
            optimizer=trained.optimizer_,
            clip_norm=_clip_norm(trained),
            device=device,
            **options,
        )
        steps = len(loader) * (epochs or net.max_epochs)
    return recommend(result, steps=steps, schedule=schedule, warmup=warmup)


def _refuse_what_is_not_read(net: Any) -> None:
    from skorch import NeuralNet
    from skorch.hf import AccelerateMixin

    if isinstance(net, AccelerateMixin):
        raise UsageError("the net trains through an Accelerator", hint=_OWN_LOOP)
    own = [name for name in ("train_step", "train_step_single") if not _inherits(net, NeuralNet, name)]
    if own:
        raise UsageError(f"{type(net).__name__} has a {own[0]} of its own, which can't be taken apart", hint=_OWN_LOOP)
    modules, optimizers = net._modules, net._optimizers  # noqa: SLF001 - skorch's lists of what a subclass added
    if modules != ["module"] or optimizers != ["optimizer"]:
        raise UsageError(
            f"the net has the modules {', '.join(modules)} and the optimizers {', '.join(optimizers)}", hint=_OWN_LOOP
        )


@contextlib.contextmanager
def _epoch_begun(net: Any) -> Iterator[None]:
    """Let the callbacks that freeze, unfreeze or set parameters begin the net's next epoch; undone afterwards."""
    from skorch.callbacks import ParamMapper

    from lrfinder.engine.restore.snapshot import Snapshot

    mappers = [each for _, each in net.callbacks_ if isinstance(each, ParamMapper)]
    if not mappers:
        yield
        return
    before = Snapshot([net.module_, net.criterion_])
    trained = [(each, each.requires_grad) for _, each in net.get_all_learnable_params()]
    net.history.new_epoch()
    try:
        for mapper in mappers:
            mapper.on_epoch_begin(net)
        yield
    finally:
        net.history.pop()
        for parameter, required in trained:
            parameter.requires_grad_(required)
        before.rewind()


def _inherits(net: Any, kind: type, name: str) -> bool:
    return getattr(type(net), name) is getattr(kind, name)


def _clip_norm(net: Any) -> float | None:
    from skorch.callbacks import GradientNormClipping

    clips = [each for _, each in net.callbacks_ if isinstance(each, GradientNormClipping) and each.gradient_clip_value]
    if len(clips) > 1 or any(each.gradient_clip_norm_type != 2 for each in clips):  # noqa: PLR2004 - the 2-norm
        raise UsageError("only one GradientNormClipping by the 2-norm can be swept", hint=_OWN_LOOP)
    return float(clips[0].gradient_clip_value) if clips else None
