"""Writers in compiled code, which take a path and open it where Python can't see it."""

from __future__ import annotations

import importlib
import os
import urllib.parse
from collections.abc import Callable
from typing import Any

from torch import jit, serialization

Target = Callable[[Any], Any]  # of a path or a file that is to be written: where it may be written


def guard_torch(target: Target) -> None:
    """Have `torch.save` write where `target` says, however the script calls it, and scripted modules as well."""
    owner: Any = serialization
    real_writer = owner._open_zipfile_writer

    def writer(file: Any, *args: Any, **kwargs: Any) -> Any:
        return real_writer(target(file), *args, **kwargs)

    owner._open_zipfile_writer = writer
    scripted: Any = vars(jit)["RecursiveScriptModule"]
    real_save = scripted.save

    def save(this: Any, file: Any, *args: Any, **kwargs: Any) -> Any:
        return real_save(this, target(file), *args, **kwargs)

    scripted.save = save


def sqlite_file(database: Any) -> Any:
    """Return the file of what `sqlite3.connect` was given, a path or an URI; None if it is none, or is only read."""
    if isinstance(database, bytes):
        database = os.fsdecode(database)
    if not isinstance(database, str):
        return database
    if not database.startswith("file:"):
        return None if database in {"", ":memory:"} else database
    parts = urllib.parse.urlsplit(database)
    if {"mode=ro", "mode=memory", "immutable=1"} & set(parts.query.split("&")):
        return None
    return urllib.parse.unquote(parts.path) or None


def guard_safetensors(target: Target) -> None:
    """Have the writers of safetensors, if it is installed, write where `target` says."""
    for name in ("safetensors.torch", "safetensors.numpy"):
        try:
            module: Any = importlib.import_module(name)
        except ImportError:
            continue
        module.serialize_file = _to_target(module.serialize_file, target)


def _to_target(real: Callable[..., Any], target: Target) -> Callable[..., Any]:
    def serialize(data: Any, file: Any, *args: Any, **kwargs: Any) -> Any:
        return real(data, target(file), *args, **kwargs)

    return serialize
