"""Loading torch for a command, so that a signal in the middle of it ends the command like any other."""

from __future__ import annotations

import importlib

from lrfinder.engine.runtime.signals import Interrupts  # imports no torch
from lrfinder.errors import EnvironmentFailure

# The compiler too: the first optimizer would load it, with the user's objects there already.
_MODULES = ("torch", "torch._dynamo")


def load_torch() -> None:
    """Load torch, with signals put off until a module is whole: each takes about a second.

    Modules of compiled code run their C++ as they are loaded, and an exception that a signal's handler raises under it
    aborts the process. Raises EnvironmentFailure where the disk refuses.
    """
    for name in _MODULES:
        with Interrupts():
            try:
                importlib.import_module(name)
            except OSError as error:  # its compiler looks for a folder for temporary files
                raise EnvironmentFailure(
                    f"loading {name}: {error.strerror or error}",
                    hint="free some space there, or name another folder in TMPDIR",
                ) from error
