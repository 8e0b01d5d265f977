"""Import the user's file as a new module, and give modules back whose place its modules have taken.

If the import fails, its folder is removed from `sys.path` again, and the folder's new modules from `sys.modules`.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import itertools
import os
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder, SourceFileLoader
from pathlib import Path
from types import FunctionType, ModuleType

from lrfinder.errors import ModelFileError, UsageError
from lrfinder.task.calling import user_call
from lrfinder.task.reference import read_source

UNIMPORTABLE = "lrfinder_model_"  # begins the name of a module that no other process can import
_KEPT = frozenset({"__main__", "__mp_main__", "lrfinder", "torch", "numpy"})  # modules that are never replaced
_serial = itertools.count(1)
_Taken = dict[str, ModuleType | None]  # what was in `sys.modules` under a name; None: nothing
_scopes: list[_Taken] = []  # of each `modules_put_back` that lasts, what it has to put back


@contextlib.contextmanager
def modules_put_back() -> Iterator[None]:
    """Put back, in the end, the modules of `sys.modules` whose place was taken meanwhile, and the order of `sys.path`.

    So the classes of a module that the user's program has imported still pickle, and what it imports later is its own.
    Until then a file's own modules must be there: the spawned workers of its loaders unpickle by them.
    """
    taken: _Taken = {}
    _scopes.append(taken)
    path, before = list(sys.path), set(sys.modules)
    try:
        yield
    finally:
        _scopes.pop()
        _put_back(taken)
        sys.path[:] = path + [entry for entry in dict.fromkeys(sys.path) if entry not in path]
        _take_out(sys.path, among=set(sys.modules) - before)


def import_file(path: Path) -> ModuleType:
    """Execute the Python file at `path` as a new module and return the module.

    The file's folder becomes the first entry of `sys.path`, as if Python ran the file as a script. It stays there,
    because functions of the file may later import other files of the folder. Modules of other folders that are called
    as files of this one leave `sys.modules`: the file imports its own. The module is added to `sys.modules`, which
    pickling and dataclasses need. `modules_put_back` undoes both. The part under `if __name__ == "__main__":` doesn't
    run, and no byte code is written.

    Raises UsageError if Python can't import a file of this kind, and ModelFileError if the file has changed `sys.path`,
    but got a module that was imported before from elsewhere. An exception of the file's code passes through.
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
        taken, before, places = {name: sys.modules.get(name)}, set(sys.modules), list(sys.path)
        sys.modules[name] = module
        try:
            exec(code, module.__dict__)  # noqa: S102 - running the user's file is the job
            if sys.path != places:
                _check_imported(module, among=before)
        except BaseException:
            _put_back(taken)
            raise
        _remember(taken)
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
        same = own != "__main__" and _is_at(_file_of(sys.modules[own]), str(path))
    else:
        spec = importlib.util.find_spec(own) if "." not in own else None
        same = spec is not None and spec.origin == str(path)
    return own if same else f"{UNIMPORTABLE}{next(_serial)}"


@contextlib.contextmanager
def _importing_from(folder: Path, program: str) -> Iterator[None]:
    """Put `folder` first on `sys.path`, and take modules out of `sys.modules` that hide its own.

    If the import fails, undo both, and remove the folder's new modules. While it lasts, `sys.argv` is that of `program`
    without arguments: those of lrfinder are not the file's.
    """
    argv, sys.argv = sys.argv, [program]
    entry = str(folder)
    before = set(sys.modules)
    hiding = _take_out([entry], among=before)
    _remember(hiding)
    added = sys.path[:1] != [entry]
    if added:
        sys.path.insert(0, entry)
    try:
        yield
    except BaseException:
        if added and entry in sys.path:
            sys.path.remove(entry)
        for name in set(sys.modules) - before:
            file = _file_of(sys.modules[name])
            if file is not None and Path(file).is_relative_to(folder) and not _is_installed(file):
                del sys.modules[name]
        _put_back(hiding)
        raise
    finally:
        sys.argv = argv


def _check_imported(module: ModuleType, *, among: set[str]) -> None:
    """Raise ModelFileError if a module that was there before hides one that the file would have imported."""
    values = vars(module).values()
    origins = [value.__name__ for value in values if isinstance(value, ModuleType)]
    origins += [str(value.__module__) for value in values if isinstance(value, type | FunctionType)]
    used = {origin.partition(".")[0] for origin in origins} - {module.__name__}
    for name in sorted(used & among - _KEPT - sys.stdlib_module_names):
        if _is_another(name, sys.path):
            raise ModelFileError(
                f"{module.__file__} imports {name}, and got {_file_of(sys.modules[name]) or 'one'} that was imported "
                "before, not its own",
                hint=f"give one of them another name, or start a process for this file alone: lrfinder sweep "
                f"{Path(str(module.__file__)).name}",
            )


def _remember(taken: _Taken) -> None:
    """Let the scope that lasts, if any, put back what has been taken out; what it knows already was there first."""
    if _scopes:
        _scopes[-1].update({name: module for name, module in taken.items() if name not in _scopes[-1]})


def _put_back(taken: _Taken) -> None:
    """Put modules back under their names, in place of what is there now, with all parts of it."""
    for name in [name for name in sys.modules if any(part in taken for part in _parents(name))]:
        del sys.modules[name]
    sys.modules.update({name: module for name, module in taken.items() if module is not None})


def _parents(name: str) -> Iterator[str]:
    """Yield a dotted name and those of the packages that it is a part of."""
    return itertools.accumulate(name.split("."), lambda package, part: f"{package}.{part}")


def _take_out(places: list[str], *, among: set[str]) -> _Taken:
    """Take those modules out of `sys.modules` that aren't what an import finds in `places`, with all their parts.

    Return them. Those of Python, those that are installed, and those of lrfinder stay: every program imports them.
    """
    importlib.invalidate_caches()  # a file may be newer than Python's cached list of its folder
    own = [name for name in among if "." not in name and name not in _KEPT | sys.stdlib_module_names]
    hiding = {name for name in own if _is_another(name, places)}
    return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in hiding}


def _is_another(name: str, places: list[str]) -> bool:
    """Tell whether the module `name`, if it isn't installed, is another one than is found in `places`."""
    module = sys.modules.get(name)
    file = _file_of(module)
    homes = [file] if file is not None else list(getattr(module, "__path__", ()))  # of a folder without __init__.py
    if not homes or any(map(_is_installed, homes)):
        return False
    found = PathFinder.find_spec(name, places)
    if found is None or (file is not None and found.origin is None):
        return False
    if found.origin is not None:
        return file is None or not _is_at(file, found.origin)
    folders = [os.path.realpath(folder) for folder in found.submodule_search_locations or ()]
    parts = [_file_of(module) for part, module in sys.modules.items() if part.startswith(f"{name}.")]
    return not all(any(Path(os.path.realpath(part)).is_relative_to(at) for at in folders) for part in parts if part)


def _file_of(module: ModuleType | None) -> str | None:
    """Return the file of a module; by its variables, since other objects may stand for one, which do what they like."""
    file = getattr(module, "__dict__", {}).get("__file__")
    return file if isinstance(file, str) else None


def _is_at(file: str | None, place: str) -> bool:
    return file is not None and os.path.realpath(file) == os.path.realpath(place)


def _is_installed(file: str) -> bool:
    return not {"site-packages", "dist-packages"}.isdisjoint(Path(file).parts)
