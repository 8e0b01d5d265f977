"""One step of the optimizers of one loss: with loss scaler, clipping, and a closure if they need one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from lrfinder.engine.update.backward_hooks import BackwardSteps, has_backward_hooks
from lrfinder.engine.update.fast_path import zero_grad
from lrfinder.errors import UsageError, add_location, error_text, user_code
from lrfinder.records import Precision, UpdateOptions
from lrfinder.task.optimizers.by_name import needs_closure
from lrfinder.task.problem import SweptOptimizer

_NO_CLOSURE = "If step() needs a closure, let it be required: `def step(self, closure)`; then lrfinder gives one."


class OptimizerStep:
    """The optimizers of `parts` on one loss: `zero_grad`, `backward` once or more, `step`.

    Raises UsageError for an option that this kind of optimizer doesn't allow.
    """

    def __init__(
        self,
        parts: Sequence[SweptOptimizer],
        training: UpdateOptions,
        device: torch.device,
        *,
        again: Callable[[], torch.Tensor],
        in_parts: bool = False,
    ) -> None:
        """`again()` computes the loss of the update's batches and its gradient again, with the weights of now.

        `in_parts`: memory ran out on whole batches.
        """
        self.is_swept = any(part.group_ratios is not None for part in parts)
        self._again = again
        self._parts = parts
        self._training = training
        self._parameters = [p for part in parts for group in part.optimizer.param_groups for p in group["params"]]
        # Each step has its own loss scaler, whose scale then shows whether this step was skipped.
        self._scaler = torch.amp.GradScaler(device.type) if training.precision is Precision.FP16 else None
        self._scale = 0.0 if self._scaler is None else self._scaler.get_scale()
        self._clips = training.clip_norm is not None or training.clip_value is not None
        self._clippable = False  # until the first gradients have been looked at
        self._closing = {part.name for part in parts if needs_closure(type(part.optimizer))}
        self._begun = False
        self._backward_steps = None
        if has_backward_hooks(self._parameters):
            self._backward_steps = BackwardSteps(parts, training, in_parts=in_parts)
        if self._scaler is not None and self._closing:
            raise _no_scaled_closure(next(part for part in parts if part.name in self._closing))

    @property
    def evaluates_again(self) -> bool:
        """Whether a step may compute the loss of its batches again."""
        return bool(self._closing)

    @property
    def is_plain(self) -> bool:
        """Whether nothing but `zero_grad()`, `backward()` and `step()` is called; known after the first step."""
        special = self._closing or self._clips or self._scaler is not None or self._backward_steps is not None
        return self._begun and not special

    def zero_grad(self) -> None:
        """Set the gradients to None."""
        for part in self._parts:
            zero_grad(part.optimizer)

    def backward(self, loss: torch.Tensor, number: int) -> None:
        """Add the gradient of `loss` for update `number` (counted from 0)."""
        if self._backward_steps is not None:
            self._backward_steps.forget()
        try:
            (loss if self._scaler is None else self._scaler.scale(loss)).backward()  # type: ignore[no-untyped-call]
        except BaseException as error:
            add_location(error, f"running loss.backward() before update {number}")
            raise
        if self._backward_steps is not None:
            self._backward_steps.check()

    def step(self, loss: torch.Tensor | None, number: int) -> bool:
        """Make update `number` with the gradient that is there; return False if that overflowed, so it was skipped.

        `loss` is the loss of the update with the weights of now; None if it isn't known.
        """
        if self._scaler is not None:
            return self._scaled_step(self._scaler, number)
        if self._clips:
            self._clip(number)
        for part in self._parts:
            if self._backward_steps is None or not self._backward_steps.made(part.optimizer):
                try:
                    self._step(part, loss, number)
                except BaseException as error:
                    add_location(error, f"calling {part.name}.step() for update {number}")
                    raise
        self._begun = True
        return True

    def _step(self, part: SweptOptimizer, loss: torch.Tensor | None, number: int) -> None:
        if part.name not in self._closing:
            try:
                part.optimizer.step()
            except Exception as error:
                # Sharpness-aware minimizers have `step(closure=None)` and assert that there is a closure.
                if self._begun or "closure" not in error_text(error).lower():
                    if isinstance(error, TypeError) and "'NoneType' object is not callable" in error_text(error):
                        error.add_note(_NO_CLOSURE)
                    raise
                self._closing.add(part.name)
            else:
                return
        part.optimizer.step(self._closure(part.optimizer, loss, number))  # type: ignore[arg-type]

    def _closure(
        self, optimizer: torch.optim.Optimizer, loss: torch.Tensor | None, number: int
    ) -> Callable[[], torch.Tensor]:
        # LBFGS calls it first before it moves the weights: that loss and its gradient are known. Optimizers that
        # aren't torch's own may have moved the weights before.
        reusable = loss is not None and type(optimizer).__module__.startswith("torch.optim.")
        ready: Iterator[torch.Tensor] = iter([loss] if loss is not None and reusable else [])

        def closure() -> torch.Tensor:
            for value in ready:
                return value
            with torch.enable_grad():
                value = self._again()
            if self._clips:
                self._clip(number)
            return value

        return closure

    def _scaled_step(self, scaler: torch.amp.GradScaler, number: int) -> bool:
        stepping = [part for part in self._parts if _has_gradient(part.optimizer)]  # the scaler refuses the others
        for part in stepping:
            with user_code(f"unscaling the gradients of {part.name} for update {number}"):
                scaler.unscale_(part.optimizer)
        if self._clips:
            self._clip(number)
        for part in stepping:
            with user_code(f"calling {part.name}.step() for update {number}"):
                try:
                    scaler.step(part.optimizer)
                except Exception as error:
                    if self._begun or "closure" not in error_text(error).lower():
                        raise
                    raise _no_scaled_closure(part) from error
        if stepping:  # it asserts that a gradient was looked at
            scaler.update()
        before, self._scale = self._scale, scaler.get_scale()
        self._begun = True
        return self._scale >= before

    def _clip(self, number: int) -> None:
        self._check_clipping()
        with user_code(f"clipping the gradient for update {number}"):
            if self._training.clip_norm is not None:
                clip_grad_norm_(self._parameters, self._training.clip_norm)
            elif self._training.clip_value is not None:
                clip_grad_value_(self._parameters, self._training.clip_value)

    def _check_clipping(self) -> None:
        if self._clippable:
            return
        option = "clip_norm" if self._training.clip_norm is not None else "clip_value"
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        kind = "sparse" if any(gradient.is_sparse for gradient in gradients) else ""
        if option == "clip_value" and any(gradient.is_complex() for gradient in gradients):
            kind = "complex"
        if kind:
            raise UsageError(
                f"{option} can't be followed: a parameter has a {kind} gradient, which torch doesn't clip",
                hint=f"leave --{option.replace('_', '-')} out"
                + (", or make the embedding with sparse=False" if kind == "sparse" else " or use --clip-norm"),
            )
        self._clippable = True


def _has_gradient(optimizer: torch.optim.Optimizer) -> bool:
    return any(p.grad is not None for group in optimizer.param_groups for p in group["params"])


def _no_scaled_closure(part: SweptOptimizer) -> UsageError:
    return UsageError(
        f"precision fp16 needs a loss scaler, and {part.name} ({type(part.optimizer).__name__}) needs a closure, which "
        "torch's scaler doesn't take",
        hint="use --precision bf16 or auto with this optimizer",
    )
