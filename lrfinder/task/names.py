"""Check the names of the model file: which names exist, what each may hold, and what a misspelt name meant."""

from __future__ import annotations

import difflib
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from lrfinder.errors import ModelFileError
from lrfinder.records import LOADER_TIMEOUT, UpdateOptions
from lrfinder.task.calling import accepts_args, describe_value
from lrfinder.task.checkpoint.read import Checkpoint
from lrfinder.task.lightning import is_lightning_class, is_lightning_module
from lrfinder.task.loader import check_loader
from lrfinder.task.optimizers.group_rates import as_named_optimizer_set, as_optimizer_set, describe_optimizer_set
from lrfinder.task.optimizers.several import HINT as OPTIMIZERS_HINT
from lrfinder.task.problem import Problem

NAMES = ("model", "train_loader", "loss_fn", "training_step", "optimizer", "optimizers", "val_loader")

# Names that other projects use for the same thing. The list is short, because a file may use such a name for something
# else and is then refused by mistake. A user who sets our name to None says that it is left out on purpose.
_ALIASES = {
    "model": ("net", "network", "build_model", "make_model", "get_model", "create_model"),
    "train_loader": ("train_dataloader", "train_dl", "training_loader", "get_train_loader", "loader", "dataloader"),
    "loss_fn": ("criterion", "loss_function", "loss_func", "loss"),
    "training_step": ("train_step",),
    "optimizer": ("optim", "opt", "configure_optimizers", "make_optimizer", "build_optimizer", "get_optimizer"),
}
_TYPO = 0.85  # difflib's ratio: "optimiser" has 0.89, "train_laoder" 0.92, but "val_loader" for "train_loader" 0.73

_MODEL_HINT = "write `def model(): return Net()`, or a class or an object that is a torch.nn.Module"
_LOADER_HINT = (
    "write `def train_loader(batch_size=64): return DataLoader(dataset, batch_size=batch_size, shuffle=True)`"
)
_OPTIMIZER_HINT = "write `def optimizer(params, lr): return torch.optim.SGD(params, lr=lr)`"
_HINTS = {
    "model": _MODEL_HINT,
    "train_loader": _LOADER_HINT,
    "loss_fn": "write `def loss_fn(output, target): ...`, or an object such as torch.nn.CrossEntropyLoss()",
    "training_step": "write `def training_step(model, batch): ...` returning the loss",
    "optimizer": _OPTIMIZER_HINT,
}


def make_problem(
    given: Mapping[str, Any],
    *,
    where: str,
    name: str,
    optimizer_name: str | None = None,
    optimizer_options: Mapping[str, float] | None = None,
    batch_size: int | None = None,
    training: UpdateOptions = UpdateOptions(),
    loader_timeout: float = LOADER_TIMEOUT,
    start: Checkpoint | None = None,
) -> Problem:
    """Check the objects that `given` holds under the names of the model file, and return a Problem. Nothing is built.

    A name whose value is None counts as left out. `where` is what messages call the place of the names. Training
    begins at `start`, if it is given.

    Raises ModelFileError if a name is missing, misspelt, or holds an object of the wrong kind.
    """
    present = {key: given[key] for key in NAMES if given.get(key) is not None}
    _check_model(present, given, where)
    _check_train_loader(present, given, where)
    if "val_loader" in present:
        check_loader(present["val_loader"], "val_loader", where)
    _check_loss(present, given, where)
    _check_optimizer(present, given, where)
    return Problem(
        **present,
        name=name,
        where=where,
        optimizer_name=optimizer_name,
        optimizer_options=dict(optimizer_options or {}),
        batch_size=batch_size,
        training=training,
        loader_timeout=loader_timeout,
        start=start,
    )


def _check_model(present: Mapping[str, Any], given: Mapping[str, Any], where: str) -> None:
    if "model" not in present:
        raise _missing("model", given, where)
    model = present["model"]
    if isinstance(model, nn.Module):
        return
    if inspect.isclass(model) and not issubclass(model, nn.Module):
        raise _wrong("model", model, where)
    # A DataLoader or an optimizer isn't callable. No check can tell a loss function from a function that makes a model.
    if not callable(model):
        raise _wrong("model", model, where)


def _check_train_loader(present: Mapping[str, Any], given: Mapping[str, Any], where: str) -> None:
    if "train_loader" in present:
        check_loader(present["train_loader"], "train_loader", where)
        return
    model = present["model"]
    if _is_lightning(model):
        return
    # A function may still return a LightningModule, which has its own loader.
    misspelt = _meant_by("train_loader", given) is not None and not _may_be_lightning(given)
    if isinstance(model, nn.Module) or inspect.isclass(model) or misspelt:
        raise _missing("train_loader", given, where)


def _check_loss(present: Mapping[str, Any], given: Mapping[str, Any], where: str) -> None:
    for key in ("loss_fn", "training_step"):
        value = present.get(key)
        if value is not None and not (callable(value) and not isinstance(value, torch.optim.Optimizer)):
            raise _wrong(key, value, where)
    step = present.get("training_step")
    if step is not None and not (accepts_args(step, 2) or accepts_args(step, 0)):
        raise ModelFileError(
            f"{where}: training_step can't be called with (model, batch)",
            hint="write `def training_step(model, batch): ...` returning the loss",
        )
    if "loss_fn" not in present and "training_step" not in present and not _may_be_lightning(given):
        for key in ("loss_fn", "training_step"):
            _refuse_near_miss(key, given, where)


def _check_optimizer(present: Mapping[str, Any], given: Mapping[str, Any], where: str) -> None:
    if "optimizers" in present:
        _check_optimizers(present, where)
        return
    if "optimizer" not in present:
        if not _may_be_lightning(given):
            _refuse_near_miss("optimizer", given, where)
        return
    optimizer = present["optimizer"]
    live = as_optimizer_set(optimizer)
    if live:
        _refuse_live(present, "optimizer", next(iter(live.values())), where)
        return
    if not callable(optimizer) or isinstance(optimizer, nn.Module):
        raise _wrong("optimizer", optimizer, where)
    if not accepts_args(optimizer, 2):
        raise ModelFileError(f"{where}: optimizer can't be called with (params, lr)", hint=_OPTIMIZER_HINT)


def _check_optimizers(present: Mapping[str, Any], where: str) -> None:
    optimizers = present["optimizers"]
    if "optimizer" in present:
        raise ModelFileError(
            f"{where} has both optimizer and optimizers", hint="keep one of them; set the other to None"
        )
    live = as_named_optimizer_set(optimizers)
    if live:
        _refuse_live(present, "optimizers", next(iter(live.values())), where)
    elif not callable(optimizers):
        raise ModelFileError(f"{where}: optimizers is {describe_optimizer_set(optimizers)}", hint=OPTIMIZERS_HINT)
    elif not (accepts_args(optimizers, 1) or accepts_args(optimizers, 2)):
        raise ModelFileError(f"{where}: optimizers can't be called with (model, lr) or (model)", hint=OPTIMIZERS_HINT)


def _refuse_live(present: Mapping[str, Any], key: str, live: torch.optim.Optimizer, where: str) -> None:
    """Raise ModelFileError if the model is made again for each repeat: a live optimizer would not update it."""
    if not isinstance(present["model"], nn.Module):
        raise ModelFileError(
            f"{where}: {key} is a live {type(live).__name__}, but model is {describe_value(present['model'])} "
            "that makes a new model each time: the optimizer would train another one",
            hint=_OPTIMIZER_HINT if key == "optimizer" else OPTIMIZERS_HINT,
        )


def _is_lightning(value: object) -> bool:
    return is_lightning_class(value) if inspect.isclass(value) else is_lightning_module(value)


def _may_be_lightning(given: Mapping[str, Any]) -> bool:
    # A LightningModule has its own loss and optimizer: a `criterion` in the same file is no misspelt loss_fn.
    return any(_is_lightning(value) for value in given.values())


def _wrong(key: str, value: object, where: str) -> ModelFileError:
    return ModelFileError(f"{where}: {key} is {describe_value(value)}", hint=_HINTS[key])


def _missing(key: str, given: Mapping[str, Any], where: str) -> ModelFileError:
    if key in given:
        return ModelFileError(f"{where}: {key} is None", hint=_HINTS[key])
    meant = _meant_by(key, given)
    guess = f"; did you mean to call `{meant}` {key}?" if meant else ""
    return ModelFileError(f"{where} has no {key}{guess}", hint=_HINTS[key])


def _refuse_near_miss(key: str, given: Mapping[str, Any], where: str) -> None:
    if key in given:  # with the value None: left out on purpose
        return
    functions = {name: value for name, value in given.items() if callable(value)}
    objects = {name: value for name, value in given.items() if isinstance(value, torch.optim.Optimizer)}
    meant = _meant_by(key, functions | objects)
    if meant is not None:
        raise ModelFileError(
            f"{where} has no {key}; did you mean to call `{meant}` {key}?",
            hint=f"rename it, or write `{key} = None` to leave {key} out on purpose",
        )


def _meant_by(key: str, given: Mapping[str, Any]) -> str | None:
    """Return the name in `given` that the user probably meant as `key`; None if no name is similar."""
    plain = {_plain(alias) for alias in _ALIASES[key]}
    others = [name for name in given if _may_be_meant(name, given[name])]
    for name in others:
        if _plain(name) in plain:
            return name
    close = difflib.get_close_matches(_plain(key), [_plain(name) for name in others], n=1, cutoff=_TYPO)
    return next((name for name in others if _plain(name) == close[0]), None) if close else None


def _may_be_meant(name: str, value: object) -> bool:
    if name.startswith("_") or name in NAMES or value is None or isinstance(value, ModuleType):
        return False
    # The user didn't choose the names of an installed package: an imported DataLoader is no misspelt loader.
    return not (inspect.isclass(value) or inspect.isroutine(value)) or not _from_a_package(value)


def _from_a_package(value: object) -> bool:
    file = getattr(sys.modules.get(getattr(value, "__module__", "")), "__file__", None)
    return file is None or not {"site-packages", "dist-packages"}.isdisjoint(Path(file).parts)


def _plain(name: str) -> str:
    return name.lower().replace("_", "")


def names_of(value: object) -> Mapping[str, Any]:
    """Return `value` if it is a mapping, else the public attributes of the object `value`, by name.

    Of a name that no model file has, no property is computed: it only serves to guess what a misspelt name meant.
    """
    if isinstance(value, Mapping):
        return value
    public = [name for name in dir(value) if not name.startswith("_")]
    return {name: getattr(value, name) if name in NAMES else _as_written(value, name) for name in public}


def _as_written(value: object, name: str) -> Any:
    """Return an attribute as its class or its object has it, of a property its function: nothing is computed."""
    found = inspect.getattr_static(value, name, None)
    return found.fget if isinstance(found, property) else found
