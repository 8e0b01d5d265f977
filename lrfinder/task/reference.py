"""Where the model is: `model.py`, `model.py:name`, `package.module:name` or `host://argument`. Imports no torch."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from lrfinder.errors import UsageError, is_text
from lrfinder.task.hosts import HOSTS

_FORMS = "write model.py, model.py:name or package.module:name"
_HOST = re.compile(r"[A-Za-z][A-Za-z0-9_.-]+")  # as in a URL; two letters at least, so that C:// is a drive


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A file (`path`) or a module (`module`), and the `attribute` in it that holds the names, if one is given.

    Or a `host` (see `task.hosts`) and its `argument`.
    """

    path: Path | None = None
    module: str | None = None
    attribute: str | None = None
    host: str | None = None
    argument: str = ""

    @property
    def file_name(self) -> str:
        """What messages call the file: its name without the folder, the dotted module, or the host's reference."""
        if self.host is not None:
            return f"{self.host}://{self.argument}"
        return self.path.name if self.path is not None else str(self.module)

    @property
    def title(self) -> str:
        """A short name for run folders: `digits`, `digits-small` for `digits.py:small`, the name of the host."""
        if self.host is not None:
            return self.host
        stem = self.path.stem if self.path is not None else str(self.module).rpartition(".")[2]
        return stem if self.attribute is None else f"{stem}-{self.attribute}"


def check_reference(text: str) -> Reference:
    """Return what `text` refers to; nothing is imported.

    Raises UsageError if no such file, module or host exists, if it can't be a Python file, and if the name is not text.
    """
    if not is_text(text):
        raise UsageError(f"{text!r}: the name is not UTF-8 text, and could not be written down", hint="rename it")
    found = _split(text)
    if found.host is not None:
        _check_host(found.host)
    elif found.path is not None:
        _check_file(found.path)
    else:
        _check_module(str(found.module), text)
    return found


def digest_of(reference: Reference) -> str | None:
    """Return the SHA-256 of the file that holds the model, in hexadecimal; None if a module or a host has no file.

    Raises UsageError if the file can't be read. Nothing is imported.
    """
    if reference.host is not None:
        return None
    path = reference.path if reference.path is not None else _file_of(str(reference.module))
    if path is None:
        return None
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UsageError(f"can't read {str(path)!r}: {error.strerror}") from error


def _file_of(module: str) -> Path | None:
    """Return the file of a dotted module; the packages on the way are looked into, not imported."""
    spec: ModuleSpec | None = None
    for count in range(1, module.count(".") + 2):
        name = ".".join(module.split(".")[:count])
        if spec is not None:
            spec = PathFinder.find_spec(name, spec.submodule_search_locations or [])
        else:
            spec = PathFinder.find_spec(name, [str(Path.cwd())]) or PathFinder.find_spec(name)
        if spec is None:
            return None
    return Path(spec.origin) if spec is not None and spec.has_location and spec.origin is not None else None


def _split(text: str) -> Reference:
    path = Path(text)
    # The last colon, so that C:\work\model.py:name splits where it is meant to; a file that exists is never split.
    head, colon, tail = text.rpartition(":")
    if path.exists() or not (colon and head):
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
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise UsageError(f"can't read {str(path)!r}: {error.strerror}") from error


def _missing_file_hint(path: Path) -> str:
    if Path(f"{path}.py").exists():
        return f"did you mean {path}.py?"
    return f"`lrfinder init {path}` writes a model file to start from" if path.suffix == ".py" else _FORMS


def _check_module(module: str, text: str) -> None:
    if not all(part.isidentifier() for part in module.split(".")):
        raise UsageError(f"{text!r} is neither a file nor a module", hint=_FORMS)
    top = module.partition(".")[0]  # the rest can't be looked up without running the package's own code
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
    except ValueError:  # a module in sys.modules that has no spec, such as __main__
        return True
