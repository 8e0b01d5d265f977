"""What the script opens, as paths."""

from __future__ import annotations

import os
import stat
from collections.abc import Container
from typing import Any

_KERNELS = ("/proc/", "/sys/", "/dev/fd/", "/dev/std")


def path_of(file: Any) -> str | None:
    """Return the path of what the script names, which may be a link itself, though none of its folders is one.

    None for a number, a name that can't be one, and for what the kernel shows as files: the name of a process.
    """
    if isinstance(file, int):
        return None
    try:
        path = os.path.abspath(os.fsdecode(file))
        if path.startswith(_KERNELS):
            return None
        folder, name = os.path.split(path)
        path = os.path.join(os.path.realpath(folder), name)
    except (TypeError, ValueError, OSError):  # OSError: the working folder is gone
        return None
    return None if path.startswith(_KERNELS) else path


def opened_path(file: Any) -> str | None:
    """Return the path of what the script opens: where a link leads to."""
    return end_of(path_of(file))


def end_of(path: str | None) -> str | None:
    """Return the path where a link leads to, at last; of anything else its own."""
    return path_of(os.path.realpath(path)) if path is not None and os.path.islink(path) else path


def is_within(path: str, paths: Container[str]) -> bool:
    """Tell whether it is one of the paths, or lies in one of them."""
    while path not in paths:
        folder = os.path.dirname(path)
        if folder == path:
            return False
        path = folder
    return True


def is_regular(path: str) -> bool:
    """Tell whether it is a file, or a link to where none is: no folder, device or pipe."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:  # a link to nowhere
        return True


def is_folder(path: str) -> bool:
    """Tell whether it is a folder itself, not a link to one."""
    return os.path.isdir(path) and not os.path.islink(path)


def size_of(path: str) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    if not is_folder(path):
        return os.lstat(path).st_size
    return sum(size_of(os.path.join(path, name)) for name in os.listdir(path))
