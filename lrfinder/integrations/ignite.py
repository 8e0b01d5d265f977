"""The learning rate of an ignite Engine: its own process function is run, with the handlers that are attached to it.

from lrfinder.integrations.ignite import find_lr

advice = find_lr(trainer, loader, model, optimizer, epochs=5)
"""

from __future__ import annotations

import contextlib
import copy
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from lrfinder.api.recommend import Recommendation, recommend
from lrfinder.errors import UsageError

if TYPE_CHECKING:
    import torch
    from ignite.engine import Engine
    from torch import nn

_MOST_EPOCHS = 10**6  # a handler ends the run


def find_lr(
    trainer: Engine,
    loader: Any,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *others: Any,
    output_transform: Callable[[Any], Any] = lambda output: output,
    epochs: float | None = None,
    steps: int | None = None,
    schedule: str | None = None,
    warmup: int | None = None,
    **options: Any,
) -> Recommendation:
    """Sweep in a run of `trainer` over `loader`, and recommend a rate for a run of `epochs`, or of `steps` updates.

    `output_transform` gives the loss from what the process function returns. All is as that function does it:
    accumulation (the loss of each batch is told, not divided), clipping, precision. Handlers of the trainer, which save
    and log and evaluate, aren't called. `others` are objects with a state that it changes: a loss scaler, an average of
    the weights. `options` are keywords of `lrfinder.attach`, among them `evaluate`, a held-out loss.

    Everything is as before, bit for bit: model, optimizer and its schedulers, loader, the `others`, the trainer's state
    and handlers, the random number generators. Errors are those of `attach`.
    """
    from ignite.engine import Events

    from lrfinder.api.attach import attach

    with _state_preserved(trainer):
        with attach(optimizer, model, loader, *others, loss_after_step=True, **options) as finder:

            def tell(engine: Engine) -> None:
                finder.loss(_checked(output_transform(engine.state.output)))
                if finder.done:
                    engine.terminate()

            with trainer.add_event_handler(Events.ITERATION_COMPLETED, tell):
                trainer.run(loader, max_epochs=_MOST_EPOCHS)
        result = finder.result
    return recommend(result, steps=steps, epochs=epochs, schedule=schedule, warmup=warmup)


def _checked(loss: Any) -> Any:
    """Return what `output_transform` gave; raise UsageError if it is no loss."""
    if hasattr(loss, "__float__"):  # a number of Python's or numpy's, or a tensor
        return loss
    raise UsageError(
        f"the loss is not one number: the trainer's output is of type {type(loss).__name__}",
        hint="say which part of it is the loss: find_lr(..., output_transform=lambda output: output['loss'])",
    )


@contextlib.contextmanager
def _state_preserved(trainer: Engine) -> Iterator[None]:
    """Give the trainer a state of its own and no handlers for a while; then put back what it had."""
    before = dict(vars(trainer))
    trainer._event_handlers = defaultdict(list)  # noqa: SLF001 - there is no public way to take them off and on
    trainer.state = copy.copy(trainer.state)
    vars(trainer.state).update(iteration=0, epoch=0, epoch_length=None, max_epochs=None, max_iters=None, metrics={})
    try:
        yield
    finally:
        vars(trainer).clear()
        vars(trainer).update(before)
