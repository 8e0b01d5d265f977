"""What a trial needs of the machine that it is made on: the same folder, model file and versions as here."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Self

from lrfinder.errors import EnvironmentFailure
from lrfinder.store import Source
from lrfinder.task.reference import check_reference, digest_of, model_path


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """Where a command was given, what its model file holds, and the packages that decide what is measured."""

    folder: str
    model: str | None  # the model file; None: a module or a host, which may be installed at another place
    digest: str | None
    versions: tuple[tuple[str, str], ...]

    @classmethod
    def here(cls, source: Source) -> Self:
        """Describe this machine. Raises UsageError if there is no such model file."""
        found = check_reference(source.reference)
        path = None if found.path is None else model_path(found)
        return cls(
            folder=str(Path.cwd()),
            model=None if path is None else str(path),
            digest=digest_of(found),
            versions=tuple((name, _version(name)) for name in ("lrfinder", "torch")),
        )

    def enter(self, source: Source) -> None:
        """Go to the folder of the command, on another machine; its model file must be there, and be the same.

        Raises EnvironmentFailure, with the machine's name, if something isn't there or is another.
        """
        name = socket.gethostname()
        try:
            os.chdir(self.folder)
        except OSError as error:
            raise EnvironmentFailure(
                f"{name}: the folder {self.folder} isn't there: {error.strerror}",
                hint="trials run in the folder of the command: keep it on a file system that every node has",
            ) from None
        if self.model is not None and not Path(self.model).is_file():
            raise EnvironmentFailure(
                f"{name}: the model file {self.model} isn't there",
                hint="keep it on a file system that every node has, or copy it to the same place on each",
            )
        if self.folder not in sys.path:  # a module is looked for there first
            sys.path.insert(0, self.folder)
        if digest_of(check_reference(source.reference)) != self.digest:
            raise EnvironmentFailure(
                f"{name}: {source.reference} isn't the same as where the command was given",
                hint="bring it up to date there",
            )
        for package, wanted in self.versions:
            if _version(package) != wanted:
                raise EnvironmentFailure(
                    f"{name}: {package} is {_version(package)} there, and {wanted} where the command was given",
                    hint="install the same version: what is measured depends on it",
                )


def _version(package: str) -> str:
    """Return the version of an installed package; torch's builds for different devices have the same."""
    return version(package).partition("+")[0]
