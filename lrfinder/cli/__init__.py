"""The command line. `main` is its entry point; each command is a file, listed in `app` in the order of use."""

from __future__ import annotations

import signal
import sys

_SIGNALLED = frozenset({128 + signal.SIGINT, 128 + signal.SIGTERM})


def main() -> None:
    """Run the command line and leave with the contract's exit status."""
    from lrfinder.cli import streams

    streams.open_missing()
    status = _status()
    try:
        with streams.results():
            pass  # what a library printed may still be in the buffer
    except Exception as error:  # noqa: BLE001 - as below
        status = _told(error)
    if status in _SIGNALLED:
        streams.leave_at_once(status)
    sys.exit(status)


def _status() -> int:
    from lrfinder.engine.signals import Terminated, terminate_as_exception  # of a module that imports no torch

    try:
        with terminate_as_exception():
            from lrfinder.cli.app import app

            app()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except Exception as error:  # noqa: BLE001 - the one place where every failure becomes a message and a status
        return _told(error)
    except (KeyboardInterrupt, Terminated) as error:
        return _told(error)
    return 0


def _told(error: BaseException) -> int:
    from lrfinder.cli import failures

    return failures.report(error)
