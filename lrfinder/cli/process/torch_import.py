"""Import torch for a command, so that a signal during the import ends the command like any other signal."""

from __future__ import annotations

import importlib

from lrfinder.cli.process.address_space import check_space
from lrfinder.engine.runtime.signals import Interrupts  # imports no torch
from lrfinder.errors import EnvironmentFailure

# The compiler too: else the first optimizer would import it, while the user's objects exist already.
_MODULES = ("torch", "torch._dynamo")


def load_torch() -> None:
    """Import torch; a signal waits until the module (about a second each) is whole.

    Compiled modules run C++ while they are imported. An exception that a signal handler raises under it aborts the
    process. Raises EnvironmentFailure if the disk refuses, and for a limit of memory (`ulimit -v`) that is too low.
    """
    check_space("torch")
    for name in _MODULES:
        with Interrupts():
            try:
                importlib.import_module(name)
            except OSError as error:  # its compiler looks for a folder for temporary files
                raise EnvironmentFailure(
                    f"loading {name}: {error.strerror or error}",
                    hint="free some space there, or name another folder in TMPDIR",
                ) from error
