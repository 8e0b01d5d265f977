"""Faults of the disk, at the k-th system call that writes into a run folder.

A fault is "KIND:k:folder": ENOSPC and EIO fail the k-th call alone, "full" that one and all later ones, "short" has it
write half of its bytes and the later ones fail, "KILL" kills the process in its place, and "count" writes their number
into the file folder/../calls at the end.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path

WRITES = os.O_WRONLY | os.O_RDWR
NAMES = ("open", "write", "fsync", "replace", "link", "ftruncate", "mkdir")
REAL = {name: getattr(os, name) for name in NAMES}


def install(fault: str, put: Callable[[object, str, object], None] = setattr) -> None:
    """Replace the system calls of this process by `put(os, name, call)`."""
    if not fault:
        return
    kind, at, folder = fault.split(":", 2)
    faults = _Faults(kind, int(at), folder)
    for name in NAMES:
        put(os, name, faults.wrap(name))


class _Faults:
    def __init__(self, kind: str, at: int, folder: str) -> None:
        self.kind, self.at, self.folder, self.calls = kind, at, folder, 0

    def wrap(self, name):
        def call(*args, **keywords):
            if self.concerns(name, args):
                self.calls += 1
                self.meet(name, args)
            return REAL[name](*args, **keywords)

        return call

    def concerns(self, name, args) -> bool:
        """Tell whether a call writes into the run folder."""
        if name == "open" and not args[1] & WRITES:
            return False
        path = args[1] if name == "link" else args[0]
        if isinstance(path, int):
            try:
                path = Path(f"/proc/self/fd/{path}").readlink()
            except OSError:
                return False
        return os.path.abspath(os.fspath(path)).startswith(self.folder)  # noqa: PTH100

    def meet(self, name, args) -> None:
        """Do what is to happen at this call."""
        if self.kind == "count":
            Path(self.folder).with_name("calls").write_text(str(self.calls))
        elif self.kind == "KILL" and self.calls == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.kind == "short" and self.calls == self.at and name == "write":
            REAL["write"](args[0], bytes(args[1])[: len(args[1]) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        elif self.kind in {"full", "short"} and self.calls >= self.at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        elif self.kind in {"ENOSPC", "EIO"} and self.calls == self.at:
            code = getattr(errno, self.kind)
            raise OSError(code, os.strerror(code))
