"""`lrfinder.attach`: the range test inside a training loop of one's own, by the optimizer's hooks."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import time
from collections.abc import Callable, Generator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import nn

from lrfinder.advice.sweep.exploration import next_run, start_of
from lrfinder.api.result import Sweep
from lrfinder.api.sweeping.broadcast import Broadcast
from lrfinder.api.sweeping.settings import make_settings, make_source
from lrfinder.api.sweeping.sweep_run import LIVE
from lrfinder.engine.description import describe_setup
from lrfinder.engine.own_loop import OwnLoop, Run, is_loader
from lrfinder.engine.own_loop_runs import LoopRepeat, LoopShortRun, held_out_loss
from lrfinder.errors import UsageError
from lrfinder.records import (
    MAX_LR,
    MIN_LR,
    REPEATS,
    RUN_STEPS,
    STEPS,
    Mode,
    Setup,
    ShortRun,
    Spacing,
    SweepSettings,
    Trace,
    UpdateOptions,
)
from lrfinder.store import RunFolder
from lrfinder.task.optimizers.build import make_optimizer
from lrfinder.task.problem import BuiltProblem, Problem
from lrfinder.version import CREATED_BY

_WHERE = "lrfinder.attach(...)"


def attach(
    optimizer: torch.optim.Optimizer,
    model: nn.Module,
    *others: Any,
    evaluate: Callable[[], torch.Tensor | float] | None = None,
    min_lr: float = MIN_LR,
    max_lr: float = MAX_LR,
    steps: int = STEPS,
    repeats: int = REPEATS,
    spacing: str = Spacing.EXP,
    run_steps: int = RUN_STEPS,
    seed: int = 0,
    max_seconds: float | None = None,
    loss_after_step: bool = False,
    out: str | os.PathLike[str] | None = None,
) -> Finder:
    """Sweep in a loop of your own: while the loop trains, hooks of `optimizer` set the rates.

        with lrfinder.attach(optimizer, model) as finder:
            while not finder.done:
                for batch in loader:
                    loss = compute_loss(model, batch)
                    finder.loss(loss)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    if finder.done:
                        break
        advice = lrfinder.recommend(finder.result, steps=10_000)

    At the end of the context everything is as it was, bit for bit, whatever happened in it: the model, the optimizer,
    its schedulers, the random number generators, and the `others`: an average of the weights, a loss scaler, a loader
    with a generator of its own. Accumulation, clipping and precision are the loop's; the losses of the batches of one
    update are averaged. Each repeat, and each short run, begins from the same weights, on the batches that come.

    `evaluate` returns a held-out loss of the model, such as the mean over four batches; it is called in evaluation
    mode and without gradients. With it short runs are made and judged, as `lrfinder.sweep` does; without it there is
    only the continuous sweep. `loss_after_step`: the loop tells the loss of an update
    after it. All other keywords are those of `lrfinder.sweep`.

    Raises UsageError for keywords that make no sense, ModelFileError if the optimizer holds no weight of the model.
    """
    settings = make_settings(
        min_lr=min_lr,
        max_lr=max_lr,
        steps=steps,
        repeats=repeats,
        spacing=spacing,
        mode=Mode.CONTINUOUS if evaluate is None else Mode.AUTO,
        run_steps=run_steps,
        seed=seed,
        max_seconds=max_seconds,
    )
    folder = None if out is None else Path(out)
    return Finder(optimizer, model, others, settings, evaluate=evaluate, late=loss_after_step, out=folder)


class Finder:
    """What `attach` returns: a context for the loop, which calls `loss`, and ends once `done`; then `result`."""

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        model: nn.Module,
        others: tuple[Any, ...],
        settings: SweepSettings,
        *,
        evaluate: Callable[[], torch.Tensor | float] | None,
        late: bool,
        out: Path | None,
    ) -> None:
        self.settings = settings
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise UsageError(
                f"{type(optimizer).__name__} is no torch.optim.Optimizer",
                hint="attach the optimizer whose step() the loop calls; of a wrapper, the one inside",
            )
        if (processes := _processes()) > 1:
            raise UsageError(
                f"this is one of {processes} processes of a training: each would end its runs at losses of its own",
                hint="sweep in one process with the same batch, by accumulation",
            )
        self._device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
        self._model = model
        self._problem = Problem(name=type(model).__name__, model=model, optimizer=optimizer, where=_WHERE)
        self._made = make_optimizer(self._problem, model)
        self._parts = self._made.parts
        self._loader = next(filter(is_loader, others), ())
        self._loop = OwnLoop(self._problem, self._parts[0], self._program(), self._device, beside=others, late=late)
        self._evaluate = None if evaluate is None else functools.partial(held_out_loss, model, evaluate, self._device)
        self._out = out
        self._observer = Broadcast([])
        self._deadline = math.inf
        self._stack = contextlib.ExitStack()
        self._traces: list[Trace] = []
        self._short_sweeps: list[Trace] = []
        self._runs: list[ShortRun] = []

    def __enter__(self) -> Self:
        self._deadline = time.monotonic() + (self.settings.max_seconds or math.inf)
        with contextlib.ExitStack() as stack:
            if self._out is not None:
                source, title = make_source(LIVE), self._problem.name
                folder = RunFolder.create(
                    self._out, model=title, source=source, settings=self.settings, created_by=CREATED_BY
                )
                self._observer = Broadcast([stack.enter_context(folder)])
            stack.enter_context(self._loop)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    @property
    def done(self) -> bool:
        """Whether enough is known: the loop may end."""
        return self._loop.done

    def loss(self, value: torch.Tensor | float) -> None:
        """Take the loss of a batch, before `optimizer.step()`.

        Raises UsageError if it isn't one number, or if the attached optimizer makes no steps.
        """
        self._loop.loss(value)

    @property
    def result(self) -> Sweep:
        """What was measured so far, for `lrfinder.recommend`. Raises UsageError if there is nothing yet."""
        setup = self._observer.setup
        if setup is None:
            raise UsageError(
                "nothing was measured: the loop told no loss, or made no step",
                hint="in the context of attach(...), call finder.loss(loss) for each batch and then optimizer.step()",
            )
        return Sweep(
            settings=self.settings,
            setup=setup,
            traces=tuple(self._traces),
            short_sweeps=tuple(self._short_sweeps),
            run=None if self._out is None else str(self._out),
            runs=tuple(self._runs),
        )

    def _program(self) -> Generator[Run, None, None]:
        """Yield the runs to be made, each when the one before it has ended."""
        yield from self._repeats(self.settings, self._traces)
        short = self.settings.short()
        if short is not None and not self._cut_short:
            self._observer.short_sweeps_started(short)
            yield from self._repeats(short, self._short_sweeps)
        if self._evaluate is None or self._cut_short:
            return
        start = start_of(self.result)
        initial: list[float] = []
        while (plan := next_run(self.result, start)) is not None:
            self._observer.run_started(plan)
            yield LoopShortRun(
                self._model,
                plan,
                self.settings.seed,
                evaluate=self._evaluate,
                initial=initial,
                ended=self._run_ended,
                deadline=self._deadline,
            )
            if self._cut_short:
                return

    def _repeats(self, settings: SweepSettings, ended: list[Trace]) -> Generator[Run, None, None]:
        for repeat in range(settings.repeats):
            if self._cut_short:
                return
            self._observer.repeat_started(repeat)
            yield LoopRepeat(
                self._model,
                settings,
                repeat,
                prepared=self._prepared,
                measured=self._observer.measured,
                ended=lambda trace: self._repeat_ended(trace, ended),
                deadline=self._deadline,
            )

    @property
    def _cut_short(self) -> bool:
        ends = [trace.stop for trace in (*self._traces, *self._short_sweeps)] + [run.stop for run in self._runs]
        return any(stop.cut_short for stop in ends)

    def _repeat_ended(self, trace: Trace, ended: list[Trace]) -> None:
        if trace.initial_loss is not None:
            ended.append(trace)
            self._observer.repeat_ended(trace)

    def _run_ended(self, run: ShortRun) -> None:
        self._runs.append(run)
        self._observer.run_ended(run)

    def _prepared(self) -> None:
        if self._observer.setup is None:
            self._observer.prepared(self._setup())

    def _setup(self) -> Setup:
        swept, model = self._parts[0], self._model
        trial = BuiltProblem(
            model=model,
            optimizer=swept.optimizer,
            group_ratios=swept.group_ratios or (),
            loader=self._loader,
            loss=lambda _model, _batch: None,
            loss_note=lambda: "told by the loop",
            optimizer_note="model file",
            own_lr=self._made.own_lr,
        )
        training = UpdateOptions(accumulate=self._loop.per_update)
        problem = Problem(name=self._problem.name, model=model, training=training, where=_WHERE)
        return describe_setup(problem, trial, self._device, cached_batches=None, graph=None)


def _processes() -> int:
    there = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if there else 1
