"""What the script opens, as paths."""

from __future__ import annotations

import os
import stat
from typing import Any

_KERNELS = ("/proc/", "/sys/")


def path_of(file: Any) -> str | None:
    """Return the absolute path of what the script opens.

    None for a number, a name that can't be one, and for what the kernel shows as files: the name of a process.
    """
    if isinstance(file, int):
        return None
    try:
        path = os.path.abspath(os.fsdecode(file))
    except (TypeError, ValueError, OSError):  # OSError: the working folder is gone
        return None
    return None if path.startswith(_KERNELS) else path


def is_regular(path: str) -> bool:
    """Tell whether it is a file, or a link to where none is: no folder, device or pipe."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:  # a link to nowhere
        return True


def size_of(path: str) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    if not os.path.isdir(path) or os.path.islink(path):
        return os.lstat(path).st_size
    return sum(size_of(os.path.join(path, name)) for name in os.listdir(path))
