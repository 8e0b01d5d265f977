"""The loss of an update: what `backward()` was called on since the last step."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from lrfinder.scripts.inside.uncompiled import uncompiled
from lrfinder.scripts.inside.weights import MadeOptimizers, weights_of

_UNSCALED = "_lrfinder_unscaled"  # the attribute of a scaled loss that remembers the loss itself


class LossWatch:
    """Watches `Tensor.backward` and `torch.autograd.backward`, gradient scalers, and `zero_grad`.

    Of several backward() calls before one step the mean counts: right if the script doesn't divide its accumulated
    losses, and off by a constant factor if it does, which no rule minds. A `zero_grad()` in between throws gradients
    away, and what they were of: the loss by which an attack found its picture isn't trained on, the one after it is.
    But if the weights have moved since, the first one counts: the other is computed elsewhere, as SAM's second loss.
    """

    def __init__(
        self,
        *,
        followed: Callable[[], torch.optim.Optimizer | None],
        backward_seen: Callable[[], None],
        zeroed: Callable[[], None],
        step_skipped: Callable[[], None],
    ) -> None:
        """`followed` is the optimizer whose steps the losses belong to, once it is known.

        `backward_seen` is called after each backward(), `zeroed` at each zero_grad(), `step_skipped` if a gradient
        scaler left a step out.
        """
        self.calls = 0  # of backward() since the last step
        self.steps = 0  # that any optimizer has begun
        self._values: list[torch.Tensor | float] = []
        self.settled = False  # the gradient scaler left a step out: the loss at these weights is known
        self._thrown = False  # the gradients of the values were thrown away
        self._throws: bool | None = None  # whether the script does so; None: it has made no step yet
        self._place: list[float] | None = None  # of the weights at the first value, unless it doesn't
        self._followed, self.made = followed, MadeOptimizers()
        self._depth = 0  # of backward() within backward(), as in activation checkpointing
        self._seen, self._zeroed, self._skipped = backward_seen, zeroed, step_skipped
        self._watch_backward()
        self._watch_scaler()
        for kind in (torch.optim.Optimizer, torch.nn.Module):
            self._watch_zero_grad(kind)

    @property
    def counted(self) -> int:
        """How many backward() calls the loss is the mean of."""
        return len(self._values)

    def take(self) -> float | None:
        """Return the loss since the last step, and begin anew; None if backward() wasn't called."""
        loss = self.peek()
        self.forget()
        return loss

    def peek(self) -> float | None:
        """Return the loss since the last step."""
        if not self._values:
            return None
        return sum(map(float, self._values)) / len(self._values)

    def forget(self) -> None:
        """Begin anew."""
        if self.calls:
            self._throws = bool(self._throws)
        self._values, self._place = [], None
        self.settled = self._thrown = False
        self.calls = 0

    def first_of(self, closure: Callable[..., Any], measured: Callable[[int, float], None]) -> Callable[..., Any]:
        """Return a closure that tells `measured` of how many batches its first loss is, and that loss.

        It is the one at the weights before the step. Batches whose gradients were gathered before count with it, unless
        the closure throws those away.
        """
        first = True

        def evaluate(*args: Any, **kwargs: Any) -> Any:
            nonlocal first
            if not first:
                self.forget()
            result = closure(*args, **kwargs)
            if first:
                first = False
                batches, loss = self.counted, self.peek()
                if loss is None and isinstance(result, torch.Tensor | float):
                    loss = float(result)
                if loss is not None:
                    measured(batches, loss)
            return result

        return evaluate

    def _watch_backward(self) -> None:
        real = torch.autograd.backward

        def backward(tensors: Any, grad_tensors: Any = None, *args: Any, **kwargs: Any) -> Any:
            outermost = self._depth == 0
            if outermost:
                self._note(tensors, grad_tensors)
            self._depth += 1
            try:
                return real(tensors, grad_tensors, *args, **kwargs)
            finally:
                self._depth -= 1
                if outermost:
                    self._seen()

        torch.autograd.backward = uncompiled(backward)

    def _note(self, tensors: Any, gradients: Any) -> None:
        self.calls += 1
        if self.settled or (self._thrown and not self._is_anew()):
            return
        if self._throws is not False and not self._values:
            self._place = self.made.place()
        if type(tensors) is torch.Tensor and gradients is None and tensors.is_cpu and tensors.numel() == 1:
            self._values.append(getattr(tensors, _UNSCALED, tensors).item())  # the usual case: nothing to wait for
            return
        tensors = (tensors,) if isinstance(tensors, torch.Tensor) else tuple(tensors)
        weights = gradients if isinstance(gradients, list | tuple) else [gradients] * len(tensors)
        with torch.no_grad():
            parts = [_value(tensor, weight) for tensor, weight in zip(tensors, weights, strict=False)]
            if parts:
                self._values.append(parts[0] if len(parts) == 1 else torch.stack(parts).sum())

    def _watch_scaler(self) -> None:
        scaler: Any = torch.amp.GradScaler
        real_scale, real_step = scaler.scale, scaler.step

        def scale(this: Any, outputs: Any) -> Any:
            scaled = real_scale(this, outputs)
            _remember(scaled, outputs)
            return scaled

        def step(this: Any, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
            before = self.steps
            result = real_step(this, optimizer, *args, **kwargs)
            if self.steps == before and this.is_enabled():
                self.settled = True
                self._skipped()
            return result

        scaler.scale, scaler.step = uncompiled(scale), uncompiled(step)

    def _watch_zero_grad(self, kind: Any) -> None:
        real = kind.zero_grad

        def zero_grad(this: Any, *args: Any, **kwargs: Any) -> Any:
            if self._values and self._depth == 0 and not self._thrown:
                self._thrown = self._is_followed(this)
                self._throws = self._throws or self._thrown
            self._zeroed()
            return real(this, *args, **kwargs)

        kind.zero_grad = uncompiled(zero_grad)

    def _is_followed(self, owner: torch.optim.Optimizer | torch.nn.Module) -> bool:
        """Tell whether gradients of the optimizer that is followed are among those of `owner`."""
        followed = self._followed()
        if followed is None or followed is owner:
            return True
        theirs = {id(weight) for weight in weights_of(owner)}
        return any(id(weight) in theirs for weight in weights_of(followed))

    def _is_anew(self) -> bool:
        """Begin anew if the weights are where they were at the values whose gradients were thrown away."""
        if self._place is None or self._place != self.made.place():
            return False
        self._values, self._thrown = [], False
        return True


class GradientWatch:
    """Watches `torch.autograd.grad`, on which `torch.func` rests, too, until the script trains in a way that is known.

    `seen` is told how often it was called, and for how many seconds it is watched.
    """

    def __init__(self, seen: Callable[[int, float], None]) -> None:
        self._real = real = torch.autograd.grad
        self._calls, self._watches, began = 0, True, time.monotonic()

        def grad(*args: Any, **kwargs: Any) -> Any:
            if self._watches and not torch.compiler.is_compiling():
                self._calls += 1
                seen(self._calls, time.monotonic() - began)
            return real(*args, **kwargs)

        torch.autograd.grad = grad

    def forget(self) -> None:
        """Watch no longer."""
        self._watches = False
        torch.autograd.grad = self._real


def _value(tensor: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    tensor = getattr(tensor, _UNSCALED, tensor).detach()
    if weight is None and tensor.numel() == 1:
        return tensor.clone()  # the script may change it in place
    return (tensor if weight is None else tensor * weight).sum(dtype=None if tensor.is_mps else torch.float64)


def _remember(scaled: Any, outputs: Any) -> None:
    """Note on each scaled tensor what it was before."""
    if isinstance(scaled, torch.Tensor):
        if scaled is not outputs:
            setattr(scaled, _UNSCALED, outputs)
        return
    for one, other in zip(scaled, outputs, strict=False):
        _remember(one, other)
