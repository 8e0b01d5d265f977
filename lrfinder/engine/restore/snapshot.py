"""Give the user's live objects back bit for bit, on every way out.

A snapshot goes from the live model and optimizer through their attributes, dictionaries, lists, sub-modules and objects
of the user's own classes. It keeps which objects each container held, and a copy on the host of what each tensor and
NumPy array contained. Restoring puts the same objects back into the same containers and the same bytes into the same
memory. So tied weights, views, a rate that is a tensor and an optimizer's state tensors stay the same objects.
`state_dict` would lose identities and non-persistent buffers, and `load_state_dict` lets the optimizer share memory
with the snapshot.

What a function of the model file makes is new and needs no snapshot. `reachable.py` says which objects are live.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from lrfinder.engine.restore.containers import ContainerState, SlotState, is_container, is_own_object, parts_of
from lrfinder.engine.restore.reachable import base_weights, reachable_state
from lrfinder.engine.restore.tensors import Marks, TensorStates, marks_of, weights_of
from lrfinder.engine.runtime.divided import fsdp_modules
from lrfinder.engine.runtime.rng import is_generator, loader_parts, remember_generator, remember_global_state
from lrfinder.errors import user_code
from lrfinder.options import UNMOVED_WEIGHTS
from lrfinder.task.problem import Problem

# What each module has of torch itself and computing a loss doesn't change: its mode is put back by itself.
_INTERNAL = frozenset(vars(nn.Module())) - {"_buffers", "_modules"}


@contextlib.contextmanager
def preserved(problem: Problem, device: torch.device, *, beside: Iterable[Any] = ()) -> Iterator[Snapshot]:
    """Restore the live objects of `problem`, those `beside` them, and the random number generators at the end.

    At its beginning all gradients are set to None. `snapshot.rewind()` goes back to the beginning for another repeat.
    Raises ModelFileError for a live model with lazy layers, which can't be made lazy again.
    """
    put_generators_back = remember_global_state(device)
    roots = [*reachable_state(problem), *beside]
    # A checkpoint is copied into the very weights; otherwise nothing writes into the base of a model of PEFT.
    snapshot = Snapshot(roots, constant=base_weights(roots) if problem.start is None else ())
    # Each step is made even if one before it fails: a GPU that reports an error fails every later call.
    with contextlib.ExitStack() as steps:
        steps.callback(put_generators_back)
        steps.callback(snapshot.tensors.put_gradients_back)
        steps.callback(snapshot.rewind)
        snapshot.tensors.take_gradients_off()
        yield snapshot


class Snapshot:
    """What the objects `roots` held when this was made. Without `weights` parameters and hooks are left out.

    What `constant` weights contain isn't copied: a base of billions of weights would take as much memory again. Their
    version counters tell if they were written to all the same.
    """

    def __init__(self, roots: Iterable[Any], *, weights: bool = True, constant: Iterable[torch.Tensor] = ()) -> None:
        self._weights = weights
        self._constant = {id(weight) for weight in constant}
        self.tensors = TensorStates(on_host=weights)
        self._containers: list[ContainerState | SlotState] = []
        self._generators: list[Callable[[], object]] = []
        self._scripted: list[tuple[nn.Module, bool]] = []
        self._arrays: list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] = []
        roots = list(roots)
        self._divided = fsdp_modules(roots) if weights else []
        self._reshard()
        self._keep_all(roots)
        self.tensors.copy()

    def rewind(self) -> None:
        """Set gradients to None and restore all else but the process's generators; may be called several times.

        Raises ModelFileError if constant weights were written to: they can't be put back.
        """
        self._reshard()
        with contextlib.ExitStack() as steps:
            for restore in self._generators:
                steps.callback(restore)
            for module, mode in self._scripted:
                steps.callback(setattr, module, "training", mode)
            for array, values in self._arrays:
                steps.callback(array.__setitem__, ..., values)
            steps.callback(self.tensors.rewind)
            for container in self._containers:
                steps.callback(container.restore)

    def unmoved(self, optimizers: Iterable[torch.optim.Optimizer], updates: int, marks: Marks | None = None) -> str:
        """Return a note if `updates` updates changed no weight of `optimizers`, with the cause; else an empty text.

        `marks` are those of their weights before, which tell it of what was made and isn't kept.
        """
        weights = weights_of(optimizers)
        same = self.tensors.unchanged(weights) or (marks is not None and marks == marks_of(weights))
        if not updates or not same:
            return ""
        gradients = any(weight.grad is not None and bool(weight.grad.any()) for weight in weights)
        cause = "though there are gradients: is it a wrapper that waits?" if gradients else "and no gradient is there"
        return f"{UNMOVED_WEIGHTS} in {updates} updates: optimizer.step() changed nothing, {cause}"

    def attributes_back(self) -> Callable[[], None]:
        """Return a function that puts the same objects back into the containers; what tensors contain stays."""
        containers = self._containers

        def restore() -> None:
            for container in containers:
                container.restore()

        return restore

    def _reshard(self) -> None:
        """Let each process have its part alone of weights that are divided: a forward pass may leave them whole."""
        for module in self._divided:
            module.reshard()

    def _keep_all(self, roots: list[Any]) -> None:
        seen: dict[int, Any] = {}  # holds the objects, since an id is valid only while its object lives
        pending = list(roots)
        while pending:
            value = pending.pop()
            if id(value) in seen:
                continue
            seen[id(value)] = value
            self._keep_contents(value)
            if isinstance(value, torch.jit.ScriptModule):  # keeps its mode and its tensors outside Python
                self._scripted += [(module, module.training) for module in value.modules()]
                pending += [*value.parameters(), *value.buffers()]
            elif isinstance(value, nn.Module) and not self._weights:
                self._containers.append(ContainerState(vars(value)))
                pending += [part for name, part in vars(value).items() if name not in _INTERNAL]
            elif isinstance(value, nn.Module | torch.optim.Optimizer):
                pending.append(vars(value))
            elif is_container(value):
                self._containers.append(ContainerState(value))
                pending += parts_of(value)
            elif is_own_object(value):
                slots = SlotState(value)
                self._containers.append(slots)
                pending += [*slots.contents, getattr(value, "__dict__", None)]

    def _keep_contents(self, value: Any) -> None:
        """Keep what `value` contains, if it is of a kind that holds no other objects."""
        if isinstance(value, torch.Tensor):
            if self._weights or not isinstance(value, nn.Parameter):
                self.tensors.keep(value, constant=id(value) in self._constant)
        elif is_generator(value):
            self._generators.append(remember_generator(value))
        elif isinstance(value, np.ndarray) and value.flags.writeable:
            self._arrays.append((value, value.copy()))


@contextlib.contextmanager
def loader_preserved(loader: Any) -> Iterator[None]:
    """Restore the attributes and the generators of a loader, its samplers and its data set when the context ends.

    What the attributes hold is not restored, since it may be the whole data set. A part with `state_dict` and
    `load_state_dict` gets its place in the data back, too. This is done for every loader, also for one that a function
    returned, which may return the same one each time.
    """
    with contextlib.ExitStack() as steps:
        for part in loader_parts(loader) or [loader]:
            if _keeps_its_place(part):  # put back last: only its own function knows what its attributes mean
                with user_code(f"asking {type(part).__name__}.state_dict() where the data is"):
                    steps.callback(part.load_state_dict, copy.deepcopy(part.state_dict()))
        for part in loader_parts(loader):
            steps.callback(ContainerState(vars(part)).restore)
            for value in vars(part).values():
                if is_generator(value):
                    steps.callback(remember_generator(value))
        yield


def _keeps_its_place(part: Any) -> bool:
    # Not torchdata's loader: its attributes hold its place, and reading its state starts its workers.
    if inspect.isclass(part) or isinstance(part, nn.Module | DataLoader):
        return False
    return all(callable(getattr(part, name, None)) for name in ("state_dict", "load_state_dict"))
