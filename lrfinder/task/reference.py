"""Read a reference to a model: `model.py`, `model.py:name`, `package.module:name` or `host://argument`.

This module imports no torch.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from lrfinder.errors import UsageError, fault_of_name
from lrfinder.files import UnfitFileError, read_limited
from lrfinder.task.hosts import HOSTS

_FORMS = "write model.py, model.py:name or package.module:name"
_MAX_BYTES = 16 * 2**20  # no source is that long; what is larger would fill the memory
_HOST = re.compile(r"[A-Za-z][A-Za-z0-9_.-]+")  # as in a URL, but with at least two characters, so that C:// is a drive


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A file (`path`), a module (`module`), or a `host` (see `task.hosts`) with its `argument`.

    `attribute` is the name in the file or module that holds the names of the model file, if the user gave one.
    """

    path: Path | None = None
    module: str | None = None
    attribute: str | None = None
    host: str | None = None
    argument: str = ""

    @property
    def file_name(self) -> str:
        """The name for messages: the file name without its folder, the module's dotted name, or `host://argument`."""
        if self.host is not None:
            return f"{self.host}://{self.argument}"
        return self.path.name if self.path is not None else str(self.module)

    @property
    def title(self) -> str:
        """A short name for run folders: `digits` for `digits.py`, `digits-small` for `digits.py:small`, or the host."""
        if self.host is not None:
            return self.host
        stem = self.path.stem if self.path is not None else str(self.module).rpartition(".")[2]
        return stem if self.attribute is None else f"{stem}-{self.attribute}"


def check_reference(text: str) -> Reference:
    """Return the Reference that `text` describes. Nothing is imported.

    Raises UsageError if the file, module or host doesn't exist, if the file is no readable Python file, or if `text`
    isn't valid UTF-8.
    """
    if fault := fault_of_name(text):
        raise UsageError(f"{text!a}: {fault}, and could not be written down", hint="rename it")
    found = _split(text)
    if found.host is not None:
        _check_host(found.host)
    elif found.path is not None:
        _check_file(found.path)
    else:
        _check_module(str(found.module), text)
    return found


def digest_of(reference: Reference) -> str | None:
    """Return the SHA-256 of the model file in hexadecimal; None for a host, and for a module that has no file.

    Raises UsageError if the file can't be read. Nothing is imported.
    """
    path = model_path(reference)
    return None if path is None else hashlib.sha256(read_source(path)).hexdigest()


def read_source(path: Path) -> bytes:
    """Return what a model file holds. Raises UsageError if it can't be read."""
    try:
        return read_limited(path, _MAX_BYTES)
    except UnfitFileError as error:
        raise UsageError(f"{str(path)!r}: {error}", hint="a model file is a Python file") from None
    except OSError as error:
        raise UsageError(f"can't read {str(path)!r}: {error.strerror}") from error


def model_path(reference: Reference) -> Path | None:
    """Return the model file, absolute; None for a host, and for a module that has no file. Nothing is imported."""
    if reference.path is not None:
        return reference.path.absolute()
    specs = _specs_of(reference.module) if reference.module is not None else []
    origin = specs[-1].origin if specs and specs[-1] is not None and specs[-1].has_location else None
    return None if origin is None else Path(origin)


def code_places(reference: Reference) -> list[Path]:
    """Return the files and folders from which importing the reference would run code; of a file just itself."""
    if reference.path is not None:
        return [reference.path]
    specs = [spec for spec in _specs_of(reference.module) if spec is not None] if reference.module is not None else []
    origins = [spec.origin for spec in specs if spec.has_location and spec.origin is not None]
    return [Path(place) for place in (*origins, *(place for spec in specs for place in _folders(spec)))]


def _specs_of(module: str) -> list[ModuleSpec | None]:
    """Return where each part of a dotted name is found, without importing any; None ends it if a part isn't."""
    specs: list[ModuleSpec | None] = []
    for part in module.split("."):
        if not specs:
            spec = PathFinder.find_spec(part, [str(Path.cwd())]) or PathFinder.find_spec(part)
        else:  # by the part alone: of a dotted name the parent package would have to be imported
            spec = PathFinder.find_spec(part, _folders(specs[-1]))
        specs.append(spec)
        if spec is None:
            break
    return specs


def _folders(spec: ModuleSpec | None) -> list[str]:
    return list((spec.submodule_search_locations if spec is not None else None) or [])


def _split(text: str) -> Reference:
    path = Path(text)
    # Split at the last colon, because C:\work\model.py:name has two. The name of a file that exists is never split.
    head, colon, tail = text.rpartition(":")
    # Not `path.exists()`: it raises if the name is too long, as what a host gets may be.
    if os.path.exists(text) or not (colon and head):  # noqa: PTH110
        return Reference(path=path)
    host, slashes, argument = text.partition("://")
    if slashes and _HOST.fullmatch(host):
        return Reference(host=host, argument=argument)
    if tail.isidentifier():
        if _looks_like_path(head):
            return Reference(path=Path(head), attribute=tail)
        return Reference(module=head, attribute=tail)
    if head.endswith(".py"):
        raise UsageError(f"{text!r}: {tail!r} is not a Python name", hint=_FORMS)
    return Reference(path=path)


def _looks_like_path(text: str) -> bool:
    return text.endswith(".py") or "/" in text or "\\" in text or Path(text).is_file()


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise UsageError(
            f"{str(path)!r} is a folder, not a model file", hint=f"name the file in it: {path / 'model.py'}"
        )
    if not path.exists():
        raise UsageError(f"no such file: {str(path)!r}", hint=_missing_file_hint(path))
    if path.suffix != ".py":
        notebook = "; `jupyter nbconvert --to script` makes one of a notebook" if path.suffix == ".ipynb" else ""
        raise UsageError(f"{str(path)!r} is not a Python file", hint=f"a model file ends in .py{notebook}")
    if not path.is_file():  # reading a pipe may wait forever
        raise UsageError(f"{str(path)!r} is not a regular file", hint="name a Python file")
    if not os.access(path, os.R_OK):
        raise UsageError(f"can't read {str(path)!r}: Permission denied")


def _missing_file_hint(path: Path) -> str:
    if Path(f"{path}.py").exists():
        return f"did you mean {path}.py?"
    return f"`lrfinder init {path}` writes a model file to start from" if path.suffix == ".py" else _FORMS


def _check_module(module: str, text: str) -> None:
    if not all(part.isidentifier() for part in module.split(".")):
        raise UsageError(f"{text!r} is neither a file nor a module", hint=_FORMS)
    top = module.partition(".")[0]  # looking up the rest would run the package's code
    if PathFinder.find_spec(top, [str(Path.cwd())]) is None and not _installed(top):
        raise UsageError(f"no module named {top!r}, here or installed", hint=_FORMS)


def _check_host(name: str) -> None:
    if name not in HOSTS:
        known = ", ".join(f"{host}://..." for host in HOSTS)
        raise UsageError(
            f"no host named {name!r} is installed",
            hint=f"{_FORMS}, or {known}" if known else f"{_FORMS}, or install the distribution that has this host",
        )


def _installed(top: str) -> bool:
    try:
        return importlib.util.find_spec(top) is not None
    except ValueError:  # a module in sys.modules without a spec, such as __main__
        return True
