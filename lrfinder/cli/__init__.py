"""The command line. `main` is its entry point; each command is a file, listed in `app` in the order of use."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lrfinder.engine.runtime.signals import Received

_SIGNALLED = frozenset({128 + signal.SIGINT, 128 + signal.SIGTERM})


def main() -> None:
    """Run the command line and leave with the contract's exit status."""
    from lrfinder.cli import garbage

    garbage.disable_for_startup()
    from lrfinder.cli import streams
    from lrfinder.engine.runtime.signals import Terminated, ignore_signals, signals_as_exceptions  # imports no torch

    streams.open_missing()
    with signals_as_exceptions() as received:
        try:
            status = _status(received)
        except (KeyboardInterrupt, Terminated) as error:  # also a second signal, while the first one is being told
            ignore_signals()
            status = _told(error)
        if status in _SIGNALLED:
            ignore_signals()
            streams.exit_fast(status)
    garbage.freeze_for_exit()
    sys.exit(status)


def _status(received: Received) -> int:
    from lrfinder.cli import streams
    from lrfinder.errors import LrfinderError

    try:
        from lrfinder.cli.app import app
        from lrfinder.cli.output import show_plugin_warnings

        show_plugin_warnings()
        try:
            app()
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        with streams.stdout_guard():  # what a library printed may still be in the buffer
            return status
    except Exception as error:  # noqa: BLE001 - the one place where every failure becomes a message and a status
        # An error in the ordinary sense of the word says what it is; any other may be what a signal was turned into.
        return _told(error if isinstance(error, LrfinderError) else received.behind(error))


def _told(error: BaseException) -> int:
    from lrfinder.cli import failures

    return failures.report(error)
