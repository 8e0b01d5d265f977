"""`lrfinder.sweep`: the range test from Python."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lrfinder.advice import Request, advise, gather_evidence
from lrfinder.api.checks import LIVE
from lrfinder.api.measure import measure
from lrfinder.api.result import Sweep
from lrfinder.api.settings import checked_timeout, make_settings, make_training, new_keyword
from lrfinder.api.sinks import Sink, check_sinks
from lrfinder.api.source import load_source_problem
from lrfinder.engine.observer import Observer
from lrfinder.errors import UsageError
from lrfinder.files import write_atomic
from lrfinder.records import (
    LOADER_TIMEOUT,
    MAX_LR,
    MIN_LR,
    REPEATS,
    RUN_STEPS,
    STEPS,
    Graph,
    Metric,
    Mode,
    Precision,
    Spacing,
)
from lrfinder.report.figure import curve_png
from lrfinder.report.progress import SweepProgress
from lrfinder.store import PICTURE, RunFolder, Source
from lrfinder.task.names import make_problem
from lrfinder.task.problem import Problem
from lrfinder.task.reference import check_reference, digest_of
from lrfinder.version import CREATED_BY


def sweep(
    model: str | os.PathLike[str] | nn.Module | Callable[[], nn.Module],
    *,
    train_loader: Iterable[Any] | Callable[..., Iterable[Any]] | None = None,
    loss_fn: Callable[..., torch.Tensor] | None = None,
    training_step: Callable[[nn.Module, Any], torch.Tensor] | None = None,
    optimizer: str | torch.optim.Optimizer | Collection[torch.optim.Optimizer] | Callable[..., Any] | None = None,
    optimizers: Mapping[str, torch.optim.Optimizer] | Callable[..., Any] | None = None,
    val_loader: Iterable[Any] | Callable[..., Iterable[Any]] | None = None,
    min_lr: float = MIN_LR,
    max_lr: float = MAX_LR,
    steps: int = STEPS,
    repeats: int = REPEATS,
    spacing: str = Spacing.EXP,
    mode: str = Mode.AUTO,
    run_steps: int = RUN_STEPS,
    metric: str = Metric.TRAIN,
    cache_batches: int | None = None,
    momentum: float | None = None,
    weight_decay: float | None = None,
    batch_size: int | None = None,
    precision: str = Precision.AUTO,
    accumulate: int = 1,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    swept_optimizer: str | None = None,
    scale_others: bool = False,
    graph: str = Graph.OFF,
    loader_timeout: float = LOADER_TIMEOUT,
    device: str = "auto",
    seed: int = 0,
    max_seconds: float | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: bool = False,
    sinks: Sequence[str] = (),
    sweep: str | None = None,
) -> Sweep:
    """Grow the rate from `min_lr` to `max_lr` while training, and return the loss that followed each update.

    `model` is a model file ("model.py", "model.py:name", "package.module:name"), or a module or a callable that makes
    one; then the other keywords are the names of the model file. An object given live starts each repeat from where
    it is, and comes back bit for bit; a callable is called anew for each repeat. `optimizer` may be the name of a
    class of torch.optim. `out` names a run folder to write; without it the disk is not touched. Nothing is printed
    unless `progress` is set. `sinks` names observers of installed distributions (entry points `lrfinder.sinks`), which
    get every event. How updates are made (`precision`, `accumulate`, `clip_norm`, `clip_value`, and of several
    `optimizers` the `swept_optimizer`) is described in `records.UpdateOptions`; `sweep` is the old name of
    `swept_optimizer`. `graph` "auto" or "on" records an update on a
    GPU once and repeats it (CUDA graphs). `max_seconds` bounds the whole sweep,
    `loader_timeout` the seconds that a batch may take (the first one of a pass five times that; 0: forever).

    A sweep of 25 updates a decade or more (by default there are 12.5) has used up the loss before it reaches the best
    rates. So `mode` "auto" makes short sweeps beside it, and picks from those: `Sweep.short_sweeps`.

    `metric` says which loss is recorded: that of the next training batch (`train`), of a batch set aside (`probe`), or
    of the first batches of the val_loader (`val`). With `cache_batches` every repeat and rate trains on the same first
    batches, over and over.

    A sweep that diverges, meets a NaN or is interrupted is a result; see `Sweep.status`, and `lrfinder.recommend`.

    Raises UsageError for keywords that can't be meant, ModelFileError for objects of the wrong kind, RunError where
    `out` is occupied, EnvironmentFailure where memory or disk run out; what the user's code raises passes through.
    """
    check_sinks(sinks)
    settings = make_settings(
        min_lr=min_lr,
        max_lr=max_lr,
        steps=steps,
        repeats=repeats,
        spacing=spacing,
        mode=mode,
        run_steps=run_steps,
        metric=metric,
        cache_batches=cache_batches,
        seed=seed,
        max_seconds=max_seconds,
    )
    names = {
        "train_loader": train_loader,
        "loss_fn": loss_fn,
        "training_step": training_step,
        "optimizer": None if isinstance(optimizer, str) else optimizer,
        "optimizers": optimizers,
        "val_loader": val_loader,
    }
    source = Source(
        reference=os.fspath(model) if isinstance(model, str | os.PathLike) else LIVE,
        optimizer=optimizer if isinstance(optimizer, str) else None,
        optimizer_options=_given(momentum=momentum, weight_decay=weight_decay),
        batch_size=batch_size,
        device=device,
        training=make_training(
            precision=precision,
            accumulate=accumulate,
            clip_norm=clip_norm,
            clip_value=clip_value,
            swept_optimizer=new_keyword("swept_optimizer", swept_optimizer, old="sweep", given=sweep),
            scale_others=scale_others,
            graph=graph,
        ),
        loader_timeout=checked_timeout(loader_timeout),
    )
    problem = _problem(model, names, source, seed)
    with ExitStack() as stack:
        observers: list[Observer] = []
        folder = None
        if out is not None:
            digest = digest_of(check_reference(source.reference)) if source.reference != LIVE else None
            folder = stack.enter_context(
                RunFolder.create(
                    Path(out),
                    model=problem.name,
                    source=source,
                    settings=settings,
                    created_by=CREATED_BY,
                    model_sha256=digest,
                )
            )
            observers.append(folder)
        if progress:
            observers.append(stack.enter_context(SweepProgress(settings)))
        observers.extend(Sink(name, settings) for name in sinks)
        run = str(folder.path) if folder is not None else None
        result = measure(problem, settings, device=device, observers=observers, run=run)
    if folder is not None:
        write_atomic(folder.place / PICTURE, curve_png(advise(gather_evidence(result), Request()).chart(result)))
    return result


def _given(**options: float | None) -> dict[str, float]:
    return {name: value for name, value in options.items() if value is not None}


def _problem(model: Any, names: Mapping[str, Any], source: Source, seed: int) -> Problem:
    if isinstance(model, str | os.PathLike):
        also = [name for name, value in names.items() if value is not None]
        if also:
            raise UsageError(f"{also[0]} can't be given beside a model file", hint=f"define it in {model}")
        return load_source_problem(source, seed=seed)
    title = type(model).__name__ if isinstance(model, nn.Module) else getattr(model, "__name__", "model")
    return make_problem(
        {"model": model, **names},
        where=LIVE,
        name=title,
        optimizer_name=source.optimizer,
        optimizer_options=source.optimizer_options,
        batch_size=source.batch_size,
        training=source.training,
        loader_timeout=source.loader_timeout,
    )
