"""Import the user's file as a fresh module, and leave nothing behind if that fails."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import itertools
import sys
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

from lrfinder.errors import UsageError
from lrfinder.task.calling import user_call

_serial = itertools.count(1)


def import_file(path: Path) -> ModuleType:
    """Execute the Python file at `path` as a fresh module and return it.

    Its folder comes first on `sys.path`, as when Python runs a script, and stays there, because functions of the file
    may import its neighbours later. The module is registered in `sys.modules`, which pickling and dataclasses need.
    `if __name__ == "__main__":` doesn't run, no byte code is written, and what the file raises passes through.
    """
    path = path.resolve()
    with user_call(f"importing {path.name}"), _importing_from(path.parent):
        name = _module_name(path)
        loader = SourceFileLoader(name, str(path))
        # Compiled from the source every time: a cached .pyc of a file that was rewritten within a second is stale.
        code = loader.source_to_code(path.read_bytes(), str(path))
        spec = importlib.util.spec_from_file_location(name, path, loader=loader)
        if spec is None:
            raise UsageError(f"can't import {str(path)!r}")
        module = importlib.util.module_from_spec(spec)
        replaced = sys.modules.get(name)
        sys.modules[name] = module
        try:
            exec(code, module.__dict__)  # noqa: S102 - running the user's file is the job
        except BaseException:
            del sys.modules[name]
            if replaced is not None:
                sys.modules[name] = replaced
            raise
    return module


def import_named(name: str) -> ModuleType:
    """Import the module `package.module`, looked up in the working folder first.

    Raises UsageError if there is no such module; what its code raises passes through.
    """
    with user_call(f"importing {name}"), _importing_from(Path.cwd()):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is not None and f"{name}.".startswith(f"{error.name}."):
                raise UsageError(f"no module named {error.name!r}", hint="write package.module:name") from error
            raise


def _module_name(path: Path) -> str:
    """Return the file's own name if importing that name finds this file, else a new name.

    DataLoader workers that are spawned unpickle the data set by importing its module: only its own name works there.
    """
    own = path.stem
    if own in sys.modules:
        # Never `__main__`, whose script part must not run.
        same = own != "__main__" and getattr(sys.modules[own], "__file__", None) == str(path)
    else:
        spec = importlib.util.find_spec(own) if own.isidentifier() else None
        same = spec is not None and spec.origin == str(path)
    return own if same else f"lrfinder_model_{next(_serial)}"


@contextlib.contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    """Have `folder` first on `sys.path`; if the import fails, take it and the folder's modules off again."""
    entry = str(folder)
    added = entry not in sys.path
    before = set(sys.modules)
    if added:
        sys.path.insert(0, entry)
    importlib.invalidate_caches()  # a neighbour may have been written since the folder was last listed
    try:
        yield
    except BaseException:
        if added and entry in sys.path:
            sys.path.remove(entry)
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file is not None and Path(file).is_relative_to(folder) and "site-packages" not in Path(file).parts:
                del sys.modules[name]
        raise
