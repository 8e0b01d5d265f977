"""Import torch for a command, so that a signal during the import ends the command like any other signal."""

from __future__ import annotations

import importlib
import os
import sys

from lrfinder.engine.runtime.signals import Interrupts  # imports no torch
from lrfinder.errors import EnvironmentFailure

# The compiler too: else the first optimizer would import it, while the user's objects exist already.
_MODULES = ("torch", "torch._dynamo")

# Bytes of address space. Below, C++ may find no memory while torch is loaded, and end the process with no word that
# Python could say. A CPU build took 0.7 GiB.
_SCARCE = 4 * 2**30
_TOO_LITTLE = 1


def load_torch() -> None:
    """Import torch; a signal waits until the module (about a second each) is whole.

    Compiled modules run C++ while they are imported. An exception that a signal handler raises under it aborts the
    process. Raises EnvironmentFailure if the disk refuses, or memory that is limited doesn't suffice.
    """
    if "torch" not in sys.modules:
        _try_in_a_child()
    for name in _MODULES:
        with Interrupts():
            try:
                importlib.import_module(name)
            except OSError as error:  # its compiler looks for a folder for temporary files
                raise EnvironmentFailure(
                    f"loading {name}: {error.strerror or error}",
                    hint="free some space there, or name another folder in TMPDIR",
                ) from error


def _try_in_a_child() -> None:
    """Where memory is scarce, import torch in a child first; raise EnvironmentFailure if there is too little for it."""
    if not hasattr(os, "fork"):  # Windows, which has no such limit
        return
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY or limit >= _SCARCE:
        return
    with Interrupts():
        child = os.fork()
        if child == 0:
            _import_and_leave()
        _, status = os.waitpid(child, 0)
    if status:  # a signal's, or _TOO_LITTLE
        raise EnvironmentFailure(
            f"out of memory: {limit / 2**20:.0f} MiB of address space are too few to load torch",
            hint="raise the limit (`ulimit -v`)",
        )


def _import_and_leave() -> None:
    """Import torch, and leave with the status _TOO_LITTLE if there is no memory for it; all else is told later."""
    status = 0
    try:
        silent = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(silent, stream)
        for name in _MODULES:
            importlib.import_module(name)
    except ModuleNotFoundError:
        pass
    except (MemoryError, ImportError):  # a part of torch for which there is no room is an ImportError
        status = _TOO_LITTLE
    finally:
        os._exit(status)
