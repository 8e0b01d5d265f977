"""Load the Problem that a reference such as `model.py` names."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from torch import nn

from lrfinder.errors import ModelFileError
from lrfinder.records import LOADER_TIMEOUT, UpdateOptions
from lrfinder.task.calling import describe_value, required_arguments, user_call
from lrfinder.task.checkpoint.read import read_checkpoint
from lrfinder.task.hosts import HOSTS
from lrfinder.task.names import make_problem, names_of
from lrfinder.task.problem import Problem
from lrfinder.task.reference import check_reference
from lrfinder.task.source import import_file, import_named

_HINT = "let it return a mapping or an object with model and train_loader (see `lrfinder init`)"


def load_problem(
    reference: str,
    *,
    optimizer_name: str | None = None,
    optimizer_options: Mapping[str, float] | None = None,
    batch_size: int | None = None,
    training: UpdateOptions = UpdateOptions(),
    loader_timeout: float = LOADER_TIMEOUT,
    start_from: str | None = None,
) -> Problem:
    """Import the model file that `reference` names and return the problem that it defines. Nothing is built yet.

    `reference` is `model.py`, `model.py:name` or `package.module:name`. Then `name` is a mapping or an object that
    holds the names of a model file, or a function or a class without required arguments that returns one.
    `host://argument` calls an installed host: see `task.hosts`.

    Training begins at the checkpoint `start_from`, if there is one.

    Raises UsageError if the file, the module, the host or the checkpoint doesn't exist, and ModelFileError if a name is
    missing or holds an object of the wrong kind. An exception of the user's code passes through unchanged.
    """
    found = check_reference(reference)
    start = None if start_from is None else read_checkpoint(start_from)  # first: the file may change the folder
    where = found.file_name
    given: Mapping[str, Any]
    if found.host is not None:
        with user_call(f"calling the host {found.host}"):
            value = HOSTS[found.host](found.argument)
        given = _names_in(value, f"the host {found.host}", where)
    else:
        module = import_file(found.path) if found.path is not None else import_named(str(found.module))
        given = vars(module)
    if found.attribute is not None:
        given = _names_behind(module, found.attribute, where)
        where = f"{where}:{found.attribute}"
    return make_problem(
        given,
        where=where,
        name=found.title,
        optimizer_name=optimizer_name,
        optimizer_options=optimizer_options,
        batch_size=batch_size,
        training=training,
        loader_timeout=loader_timeout,
        start=start,
    )


def _names_behind(module: ModuleType, attribute: str, where: str) -> Mapping[str, Any]:
    if not hasattr(module, attribute):
        public = [name for name in vars(module) if not name.startswith("_")]
        raise ModelFileError(f"{where} has no {attribute!r}", hint=f"it defines: {', '.join(public) or 'nothing'}")
    value = getattr(module, attribute)
    if inspect.isclass(value) or inspect.isroutine(value):
        needed = required_arguments(value)
        if needed:
            raise ModelFileError(f"{where}: {attribute} needs arguments ({', '.join(needed)})", hint=_HINT)
        with user_call(f"calling {attribute}()"):
            value = value()
    return _names_in(value, attribute, where)


def _names_in(value: object, giver: str, where: str) -> Mapping[str, Any]:
    if value is None or isinstance(value, nn.Module | str | int | float | list | tuple):
        raise ModelFileError(f"{where}: {giver} gives {describe_value(value)}", hint=_HINT)
    with user_call(f"reading the names of {giver}"):  # a property may run code
        return names_of(value)
