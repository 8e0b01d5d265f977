"""`lrfinder.sweep` and `lrfinder.resume`: the range test from Python."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lrfinder.api.given import items, run_folder
from lrfinder.api.result import Sweep
from lrfinder.api.sweeping.settings import make_settings, make_source, new_keyword
from lrfinder.api.sweeping.sweep_run import LIVE, SweepRun, resume_run, sweep_model, sweep_run
from lrfinder.api.sweeping.together import device_of, together
from lrfinder.api.training.executors import elsewhere
from lrfinder.errors import UsageError
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
    Strategy,
)
from lrfinder.report.progress import SweepProgress
from lrfinder.store import Source
from lrfinder.task.checkpoint.read import read_checkpoint
from lrfinder.task.names import make_problem
from lrfinder.task.problem import Problem


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
    strategy: str = Strategy.DDP,
    loader_timeout: float = LOADER_TIMEOUT,
    device: str = "auto",
    start_from: str | os.PathLike[str] | None = None,
    seed: int = 0,
    max_seconds: float | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: bool = False,
    sinks: str | Sequence[str] = (),
    on: str | None = None,
    devices_per_trial: int | None = None,
    nproc: int | None = None,
    upload: bool = False,
    sweep: str | None = None,
) -> Sweep:
    """Grow the rate from `min_lr` to `max_lr` while training, and return the loss that followed each update.

    `model` is a model file ("model.py", "model.py:name", "package.module:name"), or a module or a callable that makes
    one; then the other keywords are the names of the model file. An object given live starts each repeat from where
    it is, and comes back bit for bit; a callable is called again for each repeat. `optimizer` may be the name of a
    class of torch.optim. `out` names a run folder to write; without it the disk is not touched. Nothing is printed
    unless `progress` is set. `sinks` names observers of installed distributions (entry points `lrfinder.sinks`), which
    get every event. How updates are made (`precision`, `accumulate`, `clip_norm`, `clip_value`, and of several
    `optimizers` the `swept_optimizer`) is described in `records.UpdateOptions`; `sweep` is the old name of
    `swept_optimizer`. `graph` "auto" or "on" records an update on a GPU once and repeats it (CUDA graphs).
    `strategy` says how several processes share the model: "ddp", or "fsdp2", each its part of every weight.
    `max_seconds` bounds the whole sweep, `loader_timeout` the seconds that a batch may take (the first one of a pass
    five times that; 0: forever).

    `start_from` is the checkpoint of a run that goes on: a file with a dict that has the weights under `model`,
    `model_state_dict` or `state_dict` (or nothing else) and the optimizer's state under `optimizer` or
    `optimizer_state_dict`, a safetensors file, or a folder of Hugging Face's Trainer. Every repeat and short run begins
    there.

    A sweep of 25 updates a decade or more (by default there are 12.5) has used up the loss before it reaches the best
    rates. So `mode` "auto" makes short sweeps beside it, and picks from those: `Sweep.short_sweeps`.

    `metric` says which loss is recorded: that of the next training batch (`train`), of a batch set aside (`probe`), or
    of the first batches of the val_loader (`val`). With `cache_batches` every repeat and rate trains on the same first
    batches, over and over.

    `on` "ray" makes repeats and short runs of a model file on Ray, each as a task that takes `devices_per_trial` whole
    devices (default: 1) of a node: of the Ray that this process has joined or RAY_ADDRESS names, else of this machine.
    "ray://HOST:PORT" is a Ray Client server. With `nproc` so many processes of a node make each task together, by
    `strategy`, each with a device, or with its part of `devices_per_trial` cores. The folder must be there on each
    node; with `upload` the files that git tracks in the repository of the model file are sent instead, and how many
    they are is written to standard error.

    A sweep that diverges, meets a NaN or is interrupted is a result; see `Sweep.status`, and `lrfinder.recommend`.

    Raises UsageError for keywords that make no sense, ModelFileError for objects of the wrong kind, RunError if
    `out` is occupied, EnvironmentFailure if memory or disk run out; what the user's code raises passes through.
    """
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
    source = make_source(
        os.fspath(model) if isinstance(model, str | os.PathLike) else LIVE,
        optimizer=optimizer if isinstance(optimizer, str) else None,
        momentum=momentum,
        weight_decay=weight_decay,
        batch_size=batch_size,
        device=device,
        loader_timeout=loader_timeout,
        precision=precision,
        accumulate=accumulate,
        clip_norm=clip_norm,
        clip_value=clip_value,
        swept_optimizer=new_keyword("swept_optimizer", swept_optimizer, old="sweep", given=sweep),
        scale_others=scale_others,
        graph=graph,
        strategy=strategy,
        start_from=start_from,
    )
    if source.reference != LIVE and (also := [name for name, value in names.items() if value is not None]):
        raise UsageError(f"{also[0]} can't be given beside a model file", hint=f"define it in {source.reference}")
    where = elsewhere(on, devices_per_trial, upload=upload, nproc=nproc)
    told = items(sinks)
    live = functools.partial(_live_problem, model, names, source) if source.reference == LIVE else None
    watch = SweepProgress if progress else None

    def lead() -> Sweep:
        if out is None:
            return sweep_model(source, settings, live=live, watch=watch, sinks=told, where=where)
        return _whole(sweep_run(source, settings, out=Path(out), live=live, watch=watch, sinks=told, where=where))

    return together(lead, device=device, live=live)


def resume(
    run: str | os.PathLike[str],
    *,
    progress: bool = False,
    on: str | None = None,
    devices_per_trial: int | None = None,
    nproc: int | None = None,
    upload: bool = False,
) -> Sweep:
    """Carry on the sweep of a run folder that was killed, interrupted, or failed, and return its whole result.

    `run` is a folder that `sweep("model.py", out=...)` or `lrfinder sweep` wrote; model and settings come from it.
    Repeats and short runs that had ended by themselves are kept, the others are made again from their beginning: on a
    CPU the folder then holds what an uninterrupted sweep would have written. `max_seconds` counts from now; `on`,
    `devices_per_trial`, `nproc` and `upload` are as in `sweep`.

    Raises RunError for a damaged folder, one that another process is writing, a model file that has changed, and if
    device, versions or optimizer differ; UsageError if the sweep was made from live objects. All else is as in `sweep`.
    """
    folder, watch = run_folder(run), SweepProgress if progress else None
    where = elsewhere(on, devices_per_trial, upload=upload, nproc=nproc)
    return together(lambda: _whole(resume_run(folder, watch=watch, where=where)), device=device_of(folder))


def _whole(done: SweepRun) -> Sweep:
    if done.failure is not None:
        raise done.failure
    return done.sweep


def _live_problem(model: Any, names: Mapping[str, Any], source: Source) -> Problem:
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
        start=None if source.start_from is None else read_checkpoint(source.start_from),
    )
