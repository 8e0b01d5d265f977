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

from lrfinder.task.optimizers.build import optimizer_facts
from lrfinder.task.problem import SweptOptimizer

_MOST_FRAMES = 60  # of the stack, from the step outwards: where the script's own variables are
_LOADER = "_lrfinder_loader"
_OF_THE_FRAME = 3  # references to the copy of its variables: the frame's, and two of who asks for their number
_ENVIRONMENTS = ("gymnasium", "gym", "pettingzoo", "dm_env")  # where reinforcement learning acts


def names_of(optimizer: torch.optim.Optimizer) -> tuple[str, ...]:
    """Return what a user may call the optimizer: its class, then the variables and attributes that hold it."""
    names = [type(optimizer).__name__]
    frame: FrameType | None = sys._getframe(1)
    for _ in range(_MOST_FRAMES):
        if frame is None:
            break
        if not str(frame.f_globals.get("__name__", "")).startswith(("torch.", "lrfinder.")):
            names += _holding(_variables_of(frame), optimizer)
        frame = frame.f_back
    names += _holding(vars(sys.modules["__main__"]), optimizer)
    return tuple(dict.fromkeys(names))


def _variables_of(frame: FrameType) -> Mapping[str, Any]:
    """Return the variables of a frame, without keeping what is in them alive."""
    if sys.version_info >= (3, 13) or not frame.f_code.co_flags & inspect.CO_OPTIMIZED:
        return frame.f_locals
    kept = frame.f_locals  # of a function: the frame keeps this copy of its variables until it returns
    variables = dict(kept)
    if sys.getrefcount(kept) == _OF_THE_FRAME:  # else the script has called locals(), and it is what that gave
        kept.clear()
    return variables


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
    facts = optimizer_facts((SweptOptimizer(name="", optimizer=optimizer, group_ratios=tuple(ratios)),), "script")
    return {
        "optimizer": facts.name,
        "settings": facts.settings,
        "ratios": ratios,
        "default_lr": facts.default_lr,
        "parameters": sum(parameter.numel() for parameter in parameters),
        "device": f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device),
        "batch_size": None if size is None else size * batches,
        "batches_per_epoch": None if length is None else -(-length // batches),
        "acts": next((name for name in _ENVIRONMENTS if name in sys.modules), None),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


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
