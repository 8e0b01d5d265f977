"""The command line. `main` is its entry point; each command is a file, listed in `app` in the order of use."""

from __future__ import annotations

import signal
import sys

_SIGNALLED = frozenset({128 + signal.SIGINT, 128 + signal.SIGTERM})


def main() -> None:
    """Run the command line and leave with the contract's exit status."""
    from lrfinder.cli import garbage

    garbage.put_off()
    from lrfinder.cli import streams
    from lrfinder.engine.signals import Terminated, ignore_signals, terminate_as_exception  # imports no torch

    streams.open_missing()
    with terminate_as_exception():
        try:
            status = _status()
        except (KeyboardInterrupt, Terminated) as error:  # also a second signal, while the first one is being told
            ignore_signals()
            status = _told(error)
        if status in _SIGNALLED:
            ignore_signals()
            streams.leave_at_once(status)
    garbage.end()
    sys.exit(status)


def _status() -> int:
    from lrfinder.cli import streams

    try:
        from lrfinder.cli.app import app

        try:
            app()
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        with streams.results():  # what a library printed may still be in the buffer
            return status
    except Exception as error:  # noqa: BLE001 - the one place where every failure becomes a message and a status
        return _told(error)


def _told(error: BaseException) -> int:
    from lrfinder.cli import failures

    return failures.report(error)
