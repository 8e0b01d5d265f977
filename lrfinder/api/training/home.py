"""What a trial needs of the machine that it is made on: the same folder, model file and versions as here.

The folder is there already, or its repository was uploaded: then a process begins in the copy.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Self

from lrfinder.api.training.upload import Upload
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
    uploaded: str | None = None  # the repository that was: then `folder` is a place in it

    @classmethod
    def here(cls, source: Source, upload: Upload | None = None) -> Self:
        """Describe this machine. Raises UsageError if there is no such model file."""
        found = check_reference(source.reference)
        path = None if found.path is None or upload is not None else model_path(found)
        return cls(
            folder=str(Path.cwd()) if upload is None else upload.folder,
            model=None if path is None else str(path),
            digest=digest_of(found),
            versions=tuple((name, _version(name)) for name in ("lrfinder", "torch")),
            uploaded=None if upload is None else str(upload.root),
        )

    @contextlib.contextmanager
    def entered(self, source: Source) -> Iterator[None]:
        """Be in the folder of the command: `enter` at the beginning, and where the process began at the end.

        An exception because of a file that isn't there gets a note that tells what was uploaded, if anything was.
        """
        if self.uploaded is None:
            self.enter(source)
            yield
            return
        with contextlib.chdir("."):  # the next trial of this process begins there, too
            try:
                self.enter(source)
                yield
            except Exception as error:
                if _lacks_a_file(error):
                    error.add_note(
                        f"On {socket.gethostname()} there are only the files that git tracks in {self.uploaded}: they "
                        "were uploaded. `git add` what is missing, or keep it where every node has it, and name its "
                        "whole path."
                    )
                raise

    def enter(self, source: Source) -> None:
        """Go to the folder of the command, on another machine; its model file must be there, and be the same.

        Raises EnvironmentFailure, with the machine's name, if something isn't there or is another.
        """
        name = socket.gethostname()
        copy = None if self.uploaded is None else Path.cwd().resolve()
        folder = self.folder if copy is None else str(copy / self.folder)
        try:
            os.chdir(folder)
        except OSError as error:
            raise EnvironmentFailure(
                f"{name}: the folder {folder} isn't there: {error.strerror}",
                hint="trials run in the folder of the command: keep it on a file system that every node has, or use "
                "--upload",
            ) from None
        if self.model is not None and not Path(self.model).is_file():
            raise EnvironmentFailure(
                f"{name}: the model file {self.model} isn't there",
                hint="keep it on a file system that every node has, copy it to the same place on each, or use --upload",
            )
        if folder not in sys.path:  # a module is looked for there first
            sys.path.insert(0, folder)
        path = model_path(check_reference(source.reference))
        if copy is not None and (path is None or not path.resolve().is_relative_to(copy)):
            raise EnvironmentFailure(
                f"{name}: {source.reference} is {path} there, which wasn't uploaded",
                hint="name the model file by its path, or give the command in the folder from which it is imported",
            )
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


def _lacks_a_file(error: BaseException | None) -> bool:
    """Tell whether a file or a module that wasn't found has led to an exception."""
    while error is not None:
        if isinstance(error, FileNotFoundError | ModuleNotFoundError):
            return True
        error = error.__cause__ or error.__context__
    return False
