"""What is measured in a training loop of the user's own: a repeat of a sweep, and a short run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch
from torch import nn

from lrfinder.engine.loop import as_loss
from lrfinder.engine.losses.divergence import rise_of
from lrfinder.engine.losses.evaluation import VAL
from lrfinder.engine.losses.log import LossLog, StoppingRule, StopReason, When
from lrfinder.engine.runtime.rng import derived_seed, remember_global_state
from lrfinder.engine.short_runs import final_result
from lrfinder.errors import user_code
from lrfinder.records import Point, RunPlan, ShortRun, Stop, SweepSettings, Trace
from lrfinder.search.run_schedule import schedule_factor


class _Training:
    """The losses of one run of `model` in the loop, at one rate an update."""

    def __init__(
        self,
        model: nn.Module,
        rates: tuple[float, ...],
        *,
        repeat: int,
        deadline: float,
        measured: Callable[[Point], None] | None = None,
    ) -> None:
        self._model = model
        self._rates = rates
        self._deadline = deadline
        self.log = LossLog(repeat=repeat, rates=rates, measured=measured)
        self.undone = 0  # updates

    @property
    def rate(self) -> float:
        # An update after the last rate is undone: its loss was wanted.
        return self._rates[min(self.log.updates, len(self._rates) - 1)]

    @property
    def updates(self) -> int:
        return self.log.updates

    def judged(self, value: float, when: When, *, drift: float = 0.0) -> StopReason | None:
        """Add the loss before an update to the log; return the end if it is one, or if the time is over."""
        log = self.log
        if log.first is None:
            log.first = value
            log.start(StoppingRule(self._model, value, gradients=False, late=False, when=when, drift=drift))
            end = log.rule.before("the loss of the first batch") if log.rule is not None else None
        else:
            end = log.add(as_loss(value), self._rates[log.updates - 1])
        if end is None and log.updates == len(self._rates):
            end = Stop.COMPLETED, ""
        if end is None and time.monotonic() >= self._deadline:
            end = Stop.OUT_OF_TIME, ""
        self.undone = int(end is not None)
        return end


class LoopRepeat(_Training):
    """A repeat of a sweep with `settings`. `prepared` is called before its second loss counts, or at its end.

    By then it is seen how many losses make an update, also if a loss scaler skips the first steps. `ended` is called
    with its trace.
    """

    def __init__(
        self,
        model: nn.Module,
        settings: SweepSettings,
        repeat: int,
        *,
        prepared: Callable[[], None],
        measured: Callable[[Point], None],
        ended: Callable[[Trace], None],
        deadline: float,
    ) -> None:
        super().__init__(model, settings.lrs(), repeat=repeat, deadline=deadline, measured=measured)
        self.seed = derived_seed(settings.seed, repeat)
        self._repeat = repeat
        self._prepared = prepared
        self._ended = ended

    def begin(self) -> None:
        """Nothing is to be done."""

    def loss(self, value: float) -> StopReason | None:
        if self.log.first is not None:
            self._prepared()
        return self.judged(value, lambda _, rate: f"after the update at rate {rate:.3g}")

    def updated(self) -> StopReason | None:
        self.log.updates += 1
        return None

    def finish(self, stop: Stop, why: str, note: str) -> None:
        log = self.log
        if log.first is not None:
            self._prepared()
        made = f"{log.updates} of {len(self._rates)} updates made" if stop.cut_short else ""
        self._ended(
            Trace(
                repeat=self._repeat,
                seed=self.seed,
                initial_loss=log.first,
                lrs=self._rates[: len(log.losses)],
                losses=tuple(log.losses),
                stop=stop,
                updates=log.updates + self.undone,
                why="; ".join(part for part in (why, made) if part),
                note=note,
            )
        )


class LoopShortRun(_Training):
    """A short run, judged by `evaluate()`; `initial` keeps its loss at the start, which all runs share."""

    def __init__(
        self,
        model: nn.Module,
        plan: RunPlan,
        seed: int,
        *,
        evaluate: Callable[[], float],
        initial: list[float],
        ended: Callable[[ShortRun], None],
        deadline: float,
    ) -> None:
        factor = schedule_factor(plan)
        rates = tuple(plan.lr * factor(step) for step in range(plan.steps))
        super().__init__(model, rates, repeat=plan.repeat, deadline=deadline)
        self.seed = derived_seed(seed, plan.repeat)
        self._plan = plan
        self._sweep_seed = seed
        self._evaluate = evaluate
        self._initial = initial
        self._ended = ended
        self._loss: float | None = None

    def begin(self) -> None:
        if not self._initial:
            self._initial.append(self._evaluate())

    def loss(self, value: float) -> StopReason | None:
        drift = math.inf if self._plan.control else self._plan.drift
        return self.judged(value, lambda made, _: f"after {made} updates", drift=drift)

    def updated(self) -> StopReason | None:
        self.log.updates += 1
        if self.log.updates < len(self._rates):
            return None
        self._loss, stop, why = final_result(self._evaluate(), self._plan)
        return stop, why

    def finish(self, stop: Stop, why: str, note: str) -> None:
        log, initial = self.log, self._initial[0] if self._initial else math.nan
        first = log.first if log.first is not None and math.isfinite(log.first) else None
        losses = [] if first is None else [first, *log.losses]
        self._ended(
            ShortRun(
                plan=self._plan,
                seed=self._sweep_seed,
                metric=VAL,
                initial_loss=initial if math.isfinite(initial) else None,
                loss=self._loss,
                stop=stop,
                updates=log.updates + self.undone,
                why=why,
                note=note,
                first_loss=first,
                rise=rise_of(losses) if self._plan.control and self._loss is not None else 0.0,
            )
        )


def held_out_loss(model: nn.Module, evaluate: Callable[[], torch.Tensor | float], device: torch.device) -> float:
    """Call `evaluate` in evaluation mode, without gradients; modes and generators are as before."""
    modes = [(module, module.training) for module in model.modules()]
    put_generators_back = remember_global_state(device)
    try:
        model.eval()
        with torch.no_grad(), user_code("calling evaluate()"):
            return float(evaluate())
    finally:
        for module, mode in modes:
            module.training = mode
        put_generators_back()
