"""Capture the update of a trial, if that gives the same numbers in less time; otherwise say why not."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch

from lrfinder.engine.cuda_graphs.capture import GraphCapture
from lrfinder.engine.cuda_graphs.graphed_update import GraphedUpdate, shape_of
from lrfinder.engine.runtime.failures import out_of_memory
from lrfinder.engine.runtime.rng import remember_global_state
from lrfinder.engine.update.backward_hooks import has_backward_hooks
from lrfinder.engine.update.optimizer_step import OptimizerStep
from lrfinder.errors import error_text
from lrfinder.optimizers import traits_of
from lrfinder.records import Precision, UpdateOptions
from lrfinder.task.batches import to_device
from lrfinder.task.problem import BuiltProblem

TRIED = 3  # updates: engine/README.md#tried
NEAR_LOSS = 0.01  # relative difference: engine/README.md#near_loss-near_update
NEAR_UPDATE = 0.05  # of how far the weights have moved: engine/README.md#near_loss-near_update
MOST_WEIGHTS = 30_000_000  # for `auto`: engine/README.md#most_weights
WORTH = 0.9  # of the time without: engine/README.md#worth

# Param group settings that change, and that a failure puts back.
_SETTINGS = ("lr", "fused", "foreach", "capturable")


class NotCapturable(Exception):  # noqa: N818 - an expected outcome inside the engine, not an error of the user's
    """Why an update isn't captured."""


def capture_update(
    trial: BuiltProblem,
    training: UpdateOptions,
    batches: Sequence[Any],
    *,
    device: torch.device,
    capture: GraphCapture,
    always: bool,
) -> GraphedUpdate:
    """Capture an update of `trial` and return it; `trial` is as new afterwards, except for its optimizer's settings.

    TRIED updates are made on `batches`, the first of the training, at the optimizer's own rate. Then everything is put
    back, the update is captured, and its replays make the same updates again. The losses and the weights must agree,
    and without `always` the replays must be faster. The optimizer's rates become tensors on the device, and its steps
    torch's fused ones, since graphs need that; the numbers are the same but for rounding.

    Raises NotCapturable with the reason, and puts the trial back as it was. Counters that the model keeps in Python
    have counted the updates that were tried.
    """
    alike = _alike(trial, training, batches)
    if not always and sum(p.numel() for p in trial.model.parameters()) > MOST_WEIGHTS:
        raise NotCapturable(f"the model has more than {MOST_WEIGHTS / 1e6:.0f} million weights, which keep a GPU busy")
    start = _Start(trial, device)
    try:
        _prepare(trial.optimizer, device)
        update = _tried(_Plain(trial, training, device), alike, device, capture, start, always=always)
    except Exception as error:
        start.undo()
        if isinstance(error, NotCapturable):
            raise
        raise NotCapturable("memory ran out" if out_of_memory(error) else _one_line(error)) from error
    start.put_back()
    return update


def _alike(trial: BuiltProblem, training: UpdateOptions, batches: Sequence[Any]) -> list[Any]:
    """Return the batches that have the shape of the first; raise NotCapturable if that is known without trying."""
    if training.precision is Precision.FP16:
        raise NotCapturable("the loss scaler looks at every gradient")
    if training.accumulate > 1:
        raise NotCapturable("an update is made of several batches")
    if trial.others or trial.named_losses is not None:
        raise NotCapturable("there are several optimizers")
    _check_optimizer(trial.optimizer)
    if not batches:
        raise NotCapturable("there is no batch")
    shape = shape_of(batches[0])
    if shape is None:
        raise NotCapturable("a batch holds more than tensors, numbers and names")
    return [batch for batch in batches if shape_of(batch) == shape]


def _check_optimizer(optimizer: torch.optim.Optimizer) -> None:
    kind = type(optimizer)
    if getattr(torch.optim, kind.__name__, None) is not kind or not traits_of(kind.__name__).graphable:
        raise NotCapturable(f"{kind.__name__} is none of SGD, Adam and AdamW")
    if optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks:  # noqa: SLF001 - no public name
        raise NotCapturable("the optimizer has hooks")
    if optimizer.state:
        raise NotCapturable("the optimizer has made updates before")
    for group in optimizer.param_groups:
        if group.get("dampening"):  # the very first update isn't dampened, and a replay is always the same
            raise NotCapturable("the optimizer's first update is unlike the others, by its dampening")
        if has_backward_hooks(group["params"]):
            raise NotCapturable("parameters have hooks")
        if not all(p.is_floating_point() and p.layout is torch.strided for p in group["params"]):
            raise NotCapturable("there are parameters that are complex or sparse")


def _prepare(optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    for group in optimizer.param_groups:
        # float32: what the fused kernels read.
        group["lr"] = torch.tensor(float(group["lr"]), dtype=torch.float32, device=device)
        group["fused"], group["foreach"] = True, False
        if "capturable" in group and device.type == "cuda":
            group["capturable"] = True


class _Made(NamedTuple):
    """The results of some updates: the loss before each, the weights after the last, the seconds of the fastest."""

    losses: list[float]
    weights: torch.Tensor
    seconds: float


class _Plain:
    """An update as it is made without graphs."""

    def __init__(self, trial: BuiltProblem, training: UpdateOptions, device: torch.device) -> None:
        self._trial = trial
        self._turn = OptimizerStep(trial.parts, training, device, again=_never)

    def gradient(self, batch: Any) -> torch.Tensor:
        """Return the loss of `batch`, and leave its gradient in the parameters."""
        self._turn.zero_grad()
        loss = self._trial.loss(self._trial.model, batch)
        if loss is None:
            raise NotCapturable("a batch is skipped: its loss is None")
        self._turn.backward(loss, 0)
        return loss.detach()

    def step(self) -> None:
        """Make the step of the optimizer with the gradient that is there."""
        self._turn.step(None, 0)


def _tried(
    plain: _Plain, batches: Sequence[Any], device: torch.device, capture: GraphCapture, start: _Start, *, always: bool
) -> GraphedUpdate:
    """Capture the update, and return it if its replays give the same as without; raise NotCapturable if not."""
    moved = [to_device(batches[number % len(batches)], device) for number in range(TRIED)]
    made = capture.warm_up(lambda: _made(moved, plain.gradient, plain.step, start, watched=capture.watched))
    if not all(map(math.isfinite, made.losses)) or not bool(made.weights.isfinite().all()):
        raise NotCapturable("the first updates at the optimizer's own rate aren't finite, so they can't be compared")
    if torch.equal(made.weights, start.weights()):
        raise NotCapturable("the first updates at the optimizer's own rate change no weight")
    if start.lost_buffers():
        raise NotCapturable("the model puts new tensors in the place of its buffers")
    start.put_back()
    update = GraphedUpdate(capture, moved[0], device=device, loss=plain.gradient, step=plain.step)
    start.put_back()
    again = _made(moved, update.loss, update.step, start)
    _compare(made, again, start.weights())
    if not always and again.seconds > WORTH * made.seconds:
        raise NotCapturable(
            f"it is not faster: {again.seconds * 1e3:.2f} ms an update, {made.seconds * 1e3:.2f} ms without"
        )
    return update


def _never() -> torch.Tensor:
    raise NotCapturable("the optimizer asks for its loss again")


def _made(
    batches: Sequence[Any],
    gradient: Callable[[Any], torch.Tensor],
    step: Callable[[], None],
    start: _Start,
    watched: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
) -> _Made:
    """Make an update on each batch. All but the first, which sets things up, run in a context of `watched()`."""
    losses, seconds = [], []
    for number, batch in enumerate(batches):
        began = time.perf_counter()
        with watched() if number else contextlib.nullcontext():
            loss = gradient(batch)
            step()
        losses.append(loss.item())  # waits for the device
        seconds.append(time.perf_counter() - began)
    return _Made(losses, start.weights_now(), min(seconds))


def _compare(plain: _Made, again: _Made, start: torch.Tensor) -> None:
    if not all(abs(a - b) <= NEAR_LOSS * max(abs(a), 1e-6) for a, b in zip(plain.losses, again.losses, strict=True)):
        replayed, direct = (", ".join(f"{value:.6g}" for value in made.losses) for made in (again, plain))
        raise NotCapturable(f"its losses are {replayed} instead of {direct}")
    moved, error = (plain.weights - start).norm(), (again.weights - plain.weights).norm()
    if not error <= NEAR_UPDATE * moved:
        raise NotCapturable(f"its weights are off by {float(error / moved):.2g} of how far they move")


def _one_line(error: Exception) -> str:
    lines = error_text(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


class _Start:
    """Where a trial starts, to put it back there: copies of its tensors on the host, and the generators' states."""

    def __init__(self, trial: BuiltProblem, device: torch.device) -> None:
        self._model = trial.model
        self._optimizer = trial.optimizer
        self._parameters = [p for group in trial.optimizer.param_groups for p in group["params"]]
        self._buffers = dict(trial.model.named_buffers())
        unique = {id(t): t for t in (*trial.model.parameters(), *self._parameters, *self._buffers.values())}
        self._kept = [(tensor, tensor.detach().to("cpu", copy=True)) for tensor in unique.values()]
        self._settings = [
            (group, {name: group[name] for name in _SETTINGS if name in group})
            for group in self._optimizer.param_groups
        ]
        self._put_draws_back = remember_global_state(device)

    def weights(self) -> torch.Tensor:
        """Return the numbers of the optimizer's parameters at the start, in one row on the host."""
        kept = {id(tensor): copy for tensor, copy in self._kept}
        return torch.cat([kept[id(parameter)].double().flatten() for parameter in self._parameters])

    def weights_now(self) -> torch.Tensor:
        """Return the same numbers as they are now."""
        return torch.cat([parameter.detach().to("cpu", torch.float64).flatten() for parameter in self._parameters])

    def lost_buffers(self) -> bool:
        """Return whether a buffer is another tensor than at the start."""
        now = dict(self._model.named_buffers())
        return now.keys() != self._buffers.keys() or any(now[name] is not self._buffers[name] for name in now)

    def put_back(self) -> None:
        """Put back what the tensors contain; those of the optimizer's state become zero, as each of them begins."""
        with torch.no_grad():
            for tensor, values in self._kept:
                tensor.detach().copy_(values)
            for state in self._optimizer.state.values():
                for value in state.values():
                    if isinstance(value, torch.Tensor):
                        value.zero_()
        self._put_draws_back()

    def undo(self) -> None:
        """Put everything back, as if no update had been tried, also buffers that the model has replaced."""
        self.put_back()
        for group, settings in self._settings:
            group.update(settings)
        self._optimizer.state.clear()
        for parameter in (*self._model.parameters(), *self._parameters):
            parameter.grad = None
        for name, buffer in self._buffers.items():
            owner, _, last = name.rpartition(".")
            self._model.get_submodule(owner)._buffers[last] = buffer  # noqa: SLF001 - register_buffer refuses what is there
