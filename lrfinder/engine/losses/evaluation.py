"""The loss on held-out data: the same data, modes and random draws for every rate."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import torch
from torch import nn

from lrfinder.engine.data.fetch import NO_MORE, Fetch
from lrfinder.engine.data.subset import copied
from lrfinder.engine.restore.snapshot import Snapshot, loader_preserved
from lrfinder.engine.runtime.rng import remember_global_state, seed_everything, seed_loader
from lrfinder.engine.runtime.workers import end_workers
from lrfinder.errors import ModelFileError, user_code
from lrfinder.records import JUDGED
from lrfinder.task.batches import to_device
from lrfinder.task.optimizer_modes import judging_modes
from lrfinder.task.problem import BuiltProblem

VAL, PROBE = "val", "probe"
EVALUATION = 1  # mixed into the seed of a repeat, so that the evaluation's draws are not those of the training

PROBE_BATCHES = 4  # set aside if there is no val_loader: engine/README.md#probe_batches
LEAST_SAMPLES = 32  # in them, else more batches are set aside: engine/README.md#least_samples
LEAST_BATCHES = 10  # of the val_loader, at most; else as many as the run has updates: judging costs less than training


class Way(NamedTuple):
    """How held-out data are judged. `layers`: torch's own layers (dropout, say) and those that keep running statistics
    are in training mode all the same.
    """

    words: str
    training: bool = False
    gradients: bool = False
    layers: bool = False


PLAIN = Way(JUDGED)


class Across(Protocol):
    """Several processes, each of which judges batches of its own."""

    def alone(self, model: nn.Module) -> AbstractContextManager[None]:
        """Let `model` compute losses without the other processes."""

    def mean(self, total: float, count: int, failure: Exception | None) -> float:
        """Return the mean of all; raise `failure`, or what says that another process has one."""


def evaluate(
    trial: BuiltProblem,
    batches: Sequence[Any],
    *,
    device: torch.device,
    seed: int,
    split: Callable[[Any], list[tuple[float, Any]]] | None = None,
    way: Way = PLAIN,
    across: Across | None = None,
) -> float:
    """Return the mean loss over `batches`, each weighted by its number of samples, in evaluation mode or as `way` says.

    With `across` the batches are one process's part, and the mean is that of all. `split` makes the parts in which each
    batch is computed; None: as a whole. Random draws of the loss (a variational autoencoder's noise, say) are seeded by
    `seed`. All is put back: generators, modes, buffers and attributes of the modules, and what is `beside` the trial.
    The loss may be NaN or infinite. Raises what the user's code raises.
    """
    if across is None:
        return float(mean_losses(trial, batches, trial.loss, device=device, seed=seed, split=split, way=way))
    own, count, failure = math.nan, sum(map(samples_in, batches)), None
    try:
        with across.alone(trial.model):
            own = float(
                mean_losses(trial, batches, trial.loss, device=device, seed=seed, split=split, way=way, once=True)
            )
    except Exception as error:  # noqa: BLE001 - raised again there, in all processes
        failure = error
    return across.mean(own * count if count else 0.0, count, failure)


def mean_losses(
    trial: BuiltProblem,
    batches: Iterable[Any],
    loss: Callable[[nn.Module, Any], torch.Tensor | None],
    *,
    device: torch.device,
    seed: int,
    split: Callable[[Any], list[tuple[float, Any]]] | None = None,
    way: Way = PLAIN,
    once: bool = False,
) -> torch.Tensor:
    """Return what `evaluate` returns, in double precision; `loss` may give the losses of several members at once.

    A batch without a loss is tried again: a step that skips by a count of its calls would leave out other batches each
    time. `once`: it is not, since other processes would wait for a model that is divided among all.
    """
    put_back = remember_global_state(device)
    modes = [(module, module.training) for module in trial.model.modules()]
    before = state_around(trial)
    total, count = torch.zeros((), dtype=torch.float64, device="cpu"), 0
    try:
        seed_everything(seed, device)
        _set_modes(trial.model, way)
        with torch.set_grad_enabled(way.gradients), judging_modes(trial):
            for batch in _in_parts(batches, split):
                moved = to_device(batch, device)
                with user_code("computing the loss of a held-out batch"):
                    value = loss(trial.model, moved)
                    if value is None and not once:
                        value = loss(trial.model, moved)
                    if value is None:  # it is to be skipped
                        continue
                    value = value.detach().cpu().double()  # in this order: MPS has no float64
                size = samples_in(batch)
                total, count = total + value * size, count + size
    finally:
        for module, mode in modes:
            module.training = mode
        before.rewind()
        put_back()
    return total / count if count else total * math.nan


def state_around(trial: BuiltProblem) -> Snapshot:
    """Return what computing a loss may change: attributes and buffers of the modules, and what is beside them."""
    return Snapshot((trial.model, *trial.beside), weights=False)


def _set_modes(model: nn.Module, way: Way) -> None:
    if not way.training:
        model.eval()
    if way.layers:
        for module in model.modules():
            module.training |= type(module).__module__.startswith("torch.nn.") or hasattr(module, "running_mean")


def _in_parts(batches: Iterable[Any], split: Callable[[Any], list[tuple[float, Any]]] | None) -> Iterator[Any]:
    for batch in batches:
        own = copied(batch)  # the same data each time, even if the loss changes them
        yield from [own] if split is None else (part for _, part in split(own))


def validation_batches(loader: Iterable[Any], most: int, *, seed: int, where: str, timeout: float = 0.0) -> list[Any]:
    """Return the first `most` batches of a val_loader, the same each time; the loader's state is put back.

    Each may take `timeout` seconds (0: no limit). Raises ModelFileError if there is none, EnvironmentFailure if one
    takes too long.
    """
    kept = getattr(loader, "_iterator", None)  # a DataLoader's persistent workers, if they run already
    with contextlib.ExitStack() as cleanup:
        cleanup.enter_context(loader_preserved(loader))
        fetch = cleanup.enter_context(Fetch("val_loader", timeout))
        seed_loader(loader, seed)
        iterator = fetch.start(loader)
        if iterator is not kept:
            cleanup.callback(end_workers, iterator)
        batches: list[Any] = []
        while len(batches) < most and (batch := fetch.next(iterator, first=not batches)) is not NO_MORE:
            batches.append(batch)
    if not batches:
        raise ModelFileError(
            f"{where}: val_loader gave no batch",
            hint="is the data set empty? Leave val_loader out, and batches of the train_loader are set aside instead",
        )
    return batches


def samples_in(batch: Any) -> int:
    """Return the length of the first tensor in `batch` that isn't empty: its number of samples; 1 if there is none."""
    return next((length for length in _lengths(batch) if length), 1)


def _lengths(batch: Any) -> Iterator[int]:
    if isinstance(batch, torch.Tensor):
        yield len(batch) if batch.dim() else 1
    elif isinstance(batch, Mapping):
        yield from (length for part in batch.values() for length in _lengths(part))
    elif isinstance(batch, list | tuple):
        yield from (length for part in batch for length in _lengths(part))
    elif hasattr(batch, "__dict__") and not isinstance(batch, nn.Module):
        yield from (length for part in vars(batch).values() for length in _lengths(part))
