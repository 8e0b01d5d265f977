"""Files that are either as they were or completely new, and disk faults that name the file."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from lrfinder.errors import EnvironmentFailure, UsageError


@contextlib.contextmanager
def disk(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal into an EnvironmentFailure that names the file and the reason."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise EnvironmentFailure(f"{path}: {reason}", hint="free some space there, or name another place") from error


def write_atomic(path: Path, data: bytes) -> None:
    """Replace `path` by `data`, or leave it as it was: a temporary file beside it, synced, then renamed.

    Raises EnvironmentFailure where the disk refuses; no temporary file is left then.
    """
    # Created by name, not by `tempfile`: so the user's umask decides who may read a result.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with disk(path):
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut, where the system lets a folder be opened (Windows doesn't)."""
    with contextlib.suppress(PermissionError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_new(path: Path, data: bytes) -> None:
    """Write a file that must not exist yet: UsageError where it does, EnvironmentFailure where the disk refuses."""
    try:
        with path.open("xb") as file:
            file.write(data)
    except FileExistsError:
        raise UsageError(f"{path} already exists", hint="name another file, or remove this one first") from None
    except OSError as error:
        raise EnvironmentFailure(
            f"{path}: {error.strerror or error}", hint="name a file in a folder that exists"
        ) from error
