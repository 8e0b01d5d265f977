"""A short run after which the weights stay, while the gradients of further batches are looked at."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch.utils.hooks import RemovableHandle

from lrfinder.engine.attempt import run_attempts
from lrfinder.engine.distributed.orders import MeasureNoise
from lrfinder.engine.losses.log import StopReason
from lrfinder.engine.short_runs import RunAttempt, ShortRuns
from lrfinder.errors import UsageError
from lrfinder.records import GradientNoise, RunPlan, ShortRun

GROUPS, EACH = 4, 32  # gradients: advice/README.md#groups-each


def measure_noise(runs: ShortRuns, plan: RunPlan, *, batch: int) -> tuple[ShortRun, GradientNoise | None]:
    """Make the run of `plan`, then GROUPS x EACH updates at rate 0; return it with what their gradients were.

    `batch` are the samples of an update. An optimizer whose step is proportional to its rate changes no weight there,
    and its gradients are those that an update of the sweep has: of all processes, and the mean of what is accumulated.
    None instead of them if the run came to no end of its own, or if its steps can't be watched, as those in a backward
    pass can't. Errors are those of `ShortRuns.run`.
    """
    runs.tell(MeasureNoise(plan, batch))
    attempts: list[_NoiseAttempt] = []

    def begin() -> _NoiseAttempt:
        attempts.append(_NoiseAttempt(runs, plan))
        return attempts[-1]

    made = run_attempts(begin, interrupts=runs.interrupts, batching=runs.batching, device=runs.device)
    seen = attempts[-1].sums
    if made.loss is None or len(seen.means) < GROUPS:
        return made, None
    return made, GradientNoise(
        lr=plan.lr,
        updates=plan.steps,
        seed=runs.seed,
        batch=batch,
        each=EACH,
        squares=tuple(seen.squares),
        means=tuple(seen.means),
    )


class _NoiseAttempt(RunAttempt):
    def __init__(self, runs: ShortRuns, plan: RunPlan) -> None:
        super().__init__(runs, plan)
        self.sums = _GradientSums()
        self._handle: RemovableHandle | None = None

    def rates(self) -> list[float]:
        return [*super().rates(), *[0.0] * (GROUPS * EACH)]

    def train(self, cleanup: contextlib.ExitStack) -> StopReason:
        cleanup.callback(self._take_off)
        return super().train(cleanup)

    def updated(self) -> None:
        super().updated()
        if self.log.updates == self._plan.steps and self._ready is not None:
            optimizer, *others = (part.optimizer for part in self._ready.trial.parts)
            if others:
                raise UsageError("the gradients of several optimizers can't be looked at while all weights stay")
            self._handle = optimizer.register_step_pre_hook(self.sums.add)

    def _take_off(self) -> None:
        if self._handle is not None:
            self._handle.remove()


class _GradientSums:
    """The squared norms of gradients, and of the mean of each group of EACH."""

    def __init__(self) -> None:
        self.squares: list[float] = []
        self.means: list[float] = []
        self._total: dict[torch.Tensor, torch.Tensor] = {}  # by parameter
        self._square, self._count = 0.0, 0

    def add(self, optimizer: torch.optim.Optimizer, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
        """Take in the gradient that a step is about to be made with."""
        gradients = {
            parameter: _plain(parameter.grad)
            for group in optimizer.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        }
        self._square += _squared_norm(gradients)
        for parameter, gradient in gradients.items():
            known = self._total.get(parameter)
            self._total[parameter] = gradient.clone() if known is None else known.add_(gradient)
        self._count += 1
        if self._count == EACH:
            self.squares.append(self._square / EACH)
            self.means.append(_squared_norm(self._total) / EACH**2)
            self._total, self._square, self._count = {}, 0.0, 0


def _plain(gradient: torch.Tensor) -> torch.Tensor:
    """Return the gradient with all of its numbers, in at least 32 bits: of half precision a sum would lose digits."""
    dense = gradient.detach().to_dense() if gradient.is_sparse else gradient.detach()
    return dense.to(torch.promote_types(dense.dtype, torch.float32))


def _squared_norm(gradients: dict[torch.Tensor, torch.Tensor]) -> float:
    norm: Any = torch.nn.utils.get_total_norm(list(gradients.values()))
    return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm) ** 2  # of weights that are divided
