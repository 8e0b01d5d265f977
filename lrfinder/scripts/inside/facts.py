"""What is trained, as far as the script's process shows it: plain data for the run folder."""

from __future__ import annotations

import inspect
import platform
import sys
from collections.abc import Callable, Mapping
from types import FrameType, ModuleType
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader
from torch.utils.data import dataloader as loading

_MOST_FRAMES = 60  # of the stack, from the step outwards: where the script's own variables are
_LOADER = "_lrfinder_loader"
_ENVIRONMENTS = ("gymnasium", "gym", "pettingzoo", "dm_env")  # where reinforcement learning acts


def names_of(optimizer: torch.optim.Optimizer) -> tuple[str, ...]:
    """Return what a user may call the optimizer: its class, then the variables and attributes that hold it."""
    names = [type(optimizer).__name__]
    frame: FrameType | None = sys._getframe(1)
    for _ in range(_MOST_FRAMES):
        if frame is None:
            break
        if not str(frame.f_globals.get("__name__", "")).startswith(("torch.", "lrfinder.")):
            names += _holding(frame.f_locals, optimizer)
        frame = frame.f_back
    names += _holding(vars(sys.modules["__main__"]), optimizer)
    return tuple(dict.fromkeys(names))


def _holding(variables: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> list[str]:
    """Return the names of the variables, and of attributes of objects in them, that hold the optimizer.

    A variable that holds a wrapper, whose attribute is just called `optimizer`, counts as well; a scheduler is none.
    """
    found = []
    for name, value in list(variables.items()):
        if value is optimizer:
            found += [name] if name != "self" else []
            continue
        attributes = None if isinstance(value, type | ModuleType) else getattr(value, "__dict__", None)
        if type(attributes) is not dict or isinstance(value, LRScheduler):
            continue
        inner = [key for key, held in attributes.items() if held is optimizer and isinstance(key, str)]
        if name != "self" and any(key.strip("_") == "optimizer" for key in inner):
            found.append(name)
        found += inner
    return found


def facts_of(
    optimizer: torch.optim.Optimizer, ratios: list[float], batches: int, loaders: LoaderWatch
) -> dict[str, Any]:
    """Return the facts of a setup as JSON can hold them; `batches` make an update."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    device = parameters[0].device if parameters else torch.device("cpu")
    size, length = loaders.current()
    return {
        "optimizer": type(optimizer).__name__,
        "settings": {key: _plain(value) for key, value in optimizer.param_groups[0].items() if key != "params"},
        "ratios": ratios,
        "default_lr": _default_lr(type(optimizer)),
        "parameters": sum(parameter.numel() for parameter in parameters),
        "device": f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device),
        "batch_size": None if size is None else size * batches,
        "batches_per_epoch": None if length is None else -(-length // batches),
        "acts": next((name for name in _ENVIRONMENTS if name in sys.modules), None),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _plain(value: Any) -> Any:
    """Return a setting as JSON can hold it; None for what is no setting."""
    if isinstance(value, torch.Tensor):
        return float(value) if value.numel() == 1 else None
    if isinstance(value, list | tuple):
        return [float(item) for item in value] if all(isinstance(item, int | float) for item in value) else None
    return value if isinstance(value, bool | int | float | str) else None


def _default_lr(kind: type[torch.optim.Optimizer]) -> float | None:
    try:
        parameter = inspect.signature(kind).parameters.get("lr")
    except (TypeError, ValueError):  # a class without a signature
        return None
    default = None if parameter is None else parameter.default
    return float(default) if isinstance(default, int | float) else None


class LoaderWatch:
    """Knows which DataLoader gave the batch that was read last; `drawn` is called at each."""

    def __init__(self, drawn: Callable[[], None]) -> None:
        self.last: Any = None
        loader_class: Any = DataLoader
        iterator_class: Any = loading._BaseDataLoaderIter
        real_iter, real_next = loader_class.__iter__, iterator_class.__next__

        def iterated(loader: Any) -> Any:
            made = real_iter(loader)
            setattr(made, _LOADER, loader)
            return made

        def next_batch(this: Any) -> Any:
            batch = real_next(this)
            self.last = getattr(this, _LOADER, None)
            drawn()
            return batch

        loader_class.__iter__ = iterated
        iterator_class.__next__ = next_batch

    def current(self) -> tuple[int | None, int | None]:
        """Return the samples of its batches, and how many batches it has, as far as it says so."""
        loader = self.last
        if loader is None:
            return None, None
        size = loader.batch_size or getattr(loader.batch_sampler, "batch_size", None)
        try:
            length = len(loader)
        except Exception:  # noqa: BLE001 - an iterable data set has no length, and a user's one may fail at it
            length = None
        return (size if isinstance(size, int) else None), length or None
