"""Import the user's file as a new module.

If the import fails, its folder is removed from `sys.path` again, and the folder's new modules from `sys.modules`.
"""

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
from lrfinder.task.reference import read_source

UNIMPORTABLE = "lrfinder_model_"  # begins the name of a module that no other process can import
_serial = itertools.count(1)


def import_file(path: Path) -> ModuleType:
    """Execute the Python file at `path` as a new module and return the module.

    The file's folder becomes the first entry of `sys.path`, as if Python ran the file as a script. It stays there,
    because functions of the file may later import other files of the folder. The module is added to `sys.modules`,
    which pickling and dataclasses need. The part under `if __name__ == "__main__":` doesn't run, and no byte code is
    written.

    Raises UsageError if Python can't import a file of this kind. An exception of the file's code passes through.
    """
    path = path.resolve()
    with user_call(f"importing {path.name}"), _importing_from(path.parent, str(path)):
        name = _module_name(path)
        loader = SourceFileLoader(name, str(path))
        # Compile the source every time: if the file was rewritten within a second, a cached .pyc would be out of date.
        code = loader.source_to_code(read_source(path), str(path))
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
    """Import the module with the dotted name `name`. The working folder is searched first.

    Raises UsageError if the module doesn't exist. An exception of its code passes through.
    """
    with user_call(f"importing {name}"), _importing_from(Path.cwd(), name):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is not None and f"{name}.".startswith(f"{error.name}."):
                raise UsageError(f"no module named {error.name!r}", hint="write package.module:name") from error
            raise


def _module_name(path: Path) -> str:
    """Return the module name: the file's own name if importing that name finds this file, else a new name.

    Spawned DataLoader workers unpickle the data set and import its module for that. Only the file's own name works
    there, be it an identifier or not; a name with a dot is taken for that of a package.
    """
    own = path.stem
    if own in sys.modules:
        # Never use the name `__main__`: then the script part of the file would run.
        same = own != "__main__" and getattr(sys.modules[own], "__file__", None) == str(path)
    else:
        spec = importlib.util.find_spec(own) if "." not in own else None
        same = spec is not None and spec.origin == str(path)
    return own if same else f"{UNIMPORTABLE}{next(_serial)}"


@contextlib.contextmanager
def _importing_from(folder: Path, program: str) -> Iterator[None]:
    """Put `folder` first on `sys.path`. If the import fails, remove the entry and the folder's new modules.

    While it lasts, `sys.argv` is that of `program` without arguments: those of lrfinder are not the file's.
    """
    argv, sys.argv = sys.argv, [program]
    entry = str(folder)
    added = entry not in sys.path
    before = set(sys.modules)
    if added:
        sys.path.insert(0, entry)
    importlib.invalidate_caches()  # a file may be newer than Python's cached list of the folder
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
    finally:
        sys.argv = argv
