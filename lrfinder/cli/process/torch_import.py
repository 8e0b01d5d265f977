"""Import torch for a command, so that a signal during the import ends the command like any other signal."""

from __future__ import annotations

import contextlib
import importlib

from lrfinder.engine.runtime.signals import Interrupts  # imports no torch
from lrfinder.errors import EnvironmentFailure

# The compiler too: else the first optimizer would import it, while the user's objects exist already.
_MODULES = ("torch", "torch._dynamo")


# Bytes of address space. With less no sweep of the smallest model gets through (torch 2.13 on a CPU: 0.8 GiB), and the
# C++ of torch may abort the process while it is loaded.
LEAST_SPACE = 768 * 2**20


def load_torch() -> None:
    """Import torch; a signal waits until the module (about a second each) is whole.

    Compiled modules run C++ while they are imported. An exception that a signal handler raises under it aborts the
    process. Raises EnvironmentFailure if the disk refuses, and for a limit of memory (`ulimit -v`) that is too low.
    """
    _check_space()
    for name in _MODULES:
        with Interrupts():
            try:
                importlib.import_module(name)
            except OSError as error:  # its compiler looks for a folder for temporary files
                raise EnvironmentFailure(
                    f"loading {name}: {error.strerror or error}",
                    hint="free some space there, or name another folder in TMPDIR",
                ) from error


def _check_space() -> None:
    with contextlib.suppress(ImportError):  # Windows has no such limits
        import resource

        allowed, _ = resource.getrlimit(resource.RLIMIT_AS)
        if allowed != resource.RLIM_INFINITY and allowed < LEAST_SPACE:
            raise EnvironmentFailure(
                f"out of memory: torch can't be loaded in {allowed // 2**20} MiB; it takes {LEAST_SPACE // 2**20} MiB "
                "and more of address space",
                hint="raise the limit (`ulimit -v`)",
            )
