"""Make the loader of the batches, check that it gives batches, and start it again after its end."""

from __future__ import annotations

import inspect
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import Any, cast

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from lrfinder.errors import ModelFileError, UsageError
from lrfinder.task.calling import call_name, describe_value, required_arguments, takes_keyword, user_call
from lrfinder.task.combined_loader import CombinedBatches, is_combined
from lrfinder.task.lightning import own_train_loader
from lrfinder.task.problem import Problem
from lrfinder.task.source import UNIMPORTABLE


class RestartedByCalling:
    """A loader from a function that returns an iterator, such as a generator function.

    Each new iteration calls the function again. An iterator alone would be empty after one pass over the data.
    """

    def __init__(self, make: Callable[[], Iterator[Any]]) -> None:
        self._make = make

    def __iter__(self) -> Iterator[Any]:
        with user_call("calling train_loader()"):
            return self._make()


def make_loader(problem: Problem, model: nn.Module) -> Iterable[Any]:
    """Return the loader of the training batches.

    If `train_loader` is a function or a class, it is called; any other `train_loader` is returned as it is. If the
    file has no `train_loader`, the LightningModule's `train_dataloader()` is called. If the `train_loader` function
    returns an iterator, it is called again for each pass over the data.

    Raises UsageError if a batch size is required, or was given and can't be passed on. Raises ModelFileError if the
    result can't be iterated over.
    """
    loader: Any = problem.train_loader
    if loader is None:
        _refuse_batch_size(problem, "the LightningModule makes its own")
        with user_call("calling train_dataloader()"):
            loader = own_train_loader(model)
        if loader is None:
            raise ModelFileError(
                f"{problem.where} has no train_loader",
                hint="write `def train_loader(batch_size=64): return DataLoader(dataset, batch_size=batch_size)`",
            )
        check_batches(loader, "train_dataloader()", problem.where)
        _check_workers(loader, problem.where)
        return cast("Iterable[Any]", loader)
    if not _is_function(loader):
        _refuse_batch_size(problem, f"train_loader is {describe_value(loader)}, already made")
        return _without_numbers(loader, problem.where)
    call = _loader_call(loader, problem, "train_loader")
    if inspect.isgeneratorfunction(loader):
        return RestartedByCalling(call)
    with user_call("calling train_loader()"):
        made = call()
    check_batches(made, "train_loader()", problem.where)
    made = _without_numbers(made, problem.where)
    return RestartedByCalling(lambda: iter(call())) if isinstance(made, Iterator) else made


def _without_numbers(loader: Any, where: str) -> Iterable[Any]:
    _check_workers(loader, where)
    return CombinedBatches(loader) if is_combined(loader) else cast("Iterable[Any]", loader)


def make_val_loader(problem: Problem) -> Iterable[Any] | None:
    """Return the loader of the validation batches; None if the file has no `val_loader`.

    If `val_loader` is a function or a class, it is called; any other `val_loader` is returned as it is. A batch size is
    passed to it only if it has no default of its own.

    Raises UsageError if a batch size is required and wasn't given, ModelFileError if the result can't be iterated over.
    """
    loader: Any = problem.val_loader
    if loader is None:
        return None
    if _is_function(loader):
        call = _loader_call(loader, problem, "val_loader")
        with user_call("calling val_loader()"):
            loader = call()
        check_batches(loader, "val_loader()", problem.where)
    return _without_numbers(loader, problem.where)


def check_loader(value: object, key: str, where: str) -> None:
    """Raise ModelFileError unless `value` can be iterated over for batches, or is a function or a class.

    A val_loader is read from its start more than once, so it may be no iterator.
    """
    if _is_function(value):
        return
    check_batches(value, key, where)
    if key == "val_loader" and isinstance(value, Iterator):
        raise ModelFileError(
            f"{where}: val_loader is {describe_value(value)}, an iterator: it ends once and for all, and is read more "
            "than once",
            hint="give a function that returns a new one",
        )


def check_batches(value: object, key: str, where: str) -> None:
    """Raise ModelFileError unless `value` can be iterated over for batches."""
    what = f"{where}: {key} is {describe_value(value)}"
    if isinstance(value, Dataset) and not isinstance(value, IterableDataset):
        raise ModelFileError(
            f"{what}: a data set gives single samples, not batches",
            hint="wrap it: DataLoader(dataset, batch_size=64, shuffle=True)",
        )
    if isinstance(value, list | tuple) and any(isinstance(item, DataLoader) for item in value):
        raise ModelFileError(f"{what} of loaders", hint="give one loader; torch's ConcatDataset joins data sets")
    if callable(getattr(value, "train_dataloader", None)):
        hint = "give what its train_dataloader() returns, after prepare_data() and setup('fit')"
        raise ModelFileError(f"{what}: a data module has loaders, and is none", hint=hint)
    iterable = isinstance(value, Iterable) or (hasattr(value, "__getitem__") and not inspect.isclass(value))
    if not iterable or isinstance(value, nn.Module | torch.Tensor | Mapping | str | bytes):
        raise ModelFileError(
            f"{what}, not batches to iterate over",
            hint=f"let {key.removesuffix('()')} be a DataLoader, a list of batches or a generator function",
        )


def _check_workers(loader: Any, where: str) -> None:
    """Raise ModelFileError if worker processes would have to import a file under a name that can't be imported."""
    if not (isinstance(loader, DataLoader) and loader.num_workers):
        return
    context = loader.multiprocessing_context or multiprocessing
    method = context.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]
    parts = (loader.dataset, loader.collate_fn, loader.worker_init_fn)
    if method != "fork" and any(str(getattr(part, "__module__", "")).startswith(UNIMPORTABLE) for part in parts):
        raise ModelFileError(
            f"{where}: worker processes that are started by {method} can't import a file of this name",
            hint="rename it, without dots and not like another module; or num_workers=0",
        )


def batch_size_of(loader: Iterable[Any]) -> int | None:
    """Return the loader's batch size in samples; None if it has no such attribute."""
    size = getattr(loader, "batch_size", None)
    if size is None:  # a DataLoader that was given a batch_sampler
        size = getattr(getattr(loader, "batch_sampler", None), "batch_size", None)
    return size if isinstance(size, int) else None


def batches_per_epoch(loader: Iterable[Any]) -> int | None:
    """Return the number of batches in one pass over the data; None if the loader has no length, or none to count to."""
    if not isinstance(loader, Sized):
        return None
    try:
        with user_call("taking len(train_loader)"):
            return len(loader)
    except (TypeError, NotImplementedError):  # so does a DataLoader over an IterableDataset say that it has none
        return None
    except (OverflowError, ValueError):  # beyond what an index can be, or negative
        return None


def _is_function(value: Any) -> bool:
    # An object that can be iterated over is the loader, even if it can also be called.
    return inspect.isclass(value) or (callable(value) and not isinstance(value, Iterable | nn.Module))


def _loader_call(loader: Any, problem: Problem, key: str) -> Callable[[], Any]:
    required = required_arguments(loader)
    needed = [name for name in required if name != "batch_size"]
    if needed:
        raise ModelFileError(
            f"{problem.where}: {key} needs arguments ({', '.join(needed)})",
            hint=f"it is called as {key}() or {key}(batch_size): give the others defaults",
        )
    size = problem.batch_size
    if size is None and "batch_size" in required:
        raise UsageError(
            f"{problem.where}: {key}(batch_size) has no default, and no batch size was given",
            hint=f"add --batch-size N, or a default: `def {key}(batch_size=64)`",
        )
    if size is None or (key == "val_loader" and "batch_size" not in required):
        return cast("Callable[[], Any]", loader)
    if not takes_keyword(loader, "batch_size"):
        _refuse_batch_size(problem, f"{call_name(loader)}() has no parameter of that name")
    return lambda: loader(batch_size=size)


def _refuse_batch_size(problem: Problem, why: str) -> None:
    if problem.batch_size is not None:
        raise UsageError(
            f"{problem.where}: the batch size {problem.batch_size} can't be passed to train_loader: {why}",
            hint="write `def train_loader(batch_size=64): ...`, or leave --batch-size out",
        )
