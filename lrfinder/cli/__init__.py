"""The command line. `main` is its entry point; each command is a file, listed in `app` in the order of use."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and leave with the contract's exit status."""
    from lrfinder.cli import failures
    from lrfinder.cli.app import app
    from lrfinder.engine.signals import Terminated  # of a module that imports no torch

    try:
        app()
    except Exception as error:  # noqa: BLE001 - the one place where every failure becomes a message and a status
        sys.exit(failures.report(error))
    except (KeyboardInterrupt, Terminated) as error:
        sys.exit(failures.report(error))
