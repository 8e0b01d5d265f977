"""The command line. `main` is its entry point; each command is a file, listed in `app` in the order of use."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lrfinder.engine.runtime.signals import Received


def main() -> None:
    """Run the command line and leave with the contract's exit status."""
    from lrfinder.engine.runtime import gc_control  # imports no torch

    gc_control.disable_for_startup()
    from lrfinder.cli.answers.exit_status import SIGNALLED
    from lrfinder.cli.process import several, stdout
    from lrfinder.cli.process.address_space import guard_numpy
    from lrfinder.cli.process.exit import exit_fast, stop_timers
    from lrfinder.engine.runtime.signals import Terminated, ignore_signals, signals_as_exceptions  # imports no torch

    stdout.open_missing()
    stdout.escape_what_it_lacks()
    guard_numpy()
    with signals_as_exceptions() as received:
        try:
            status = _run(received)
        except (KeyboardInterrupt, Terminated) as error:  # also a second signal, while the first one is reported
            ignore_signals()
            status = several.end_quietly(error) or _report(error)
        several.leave_job(status)
        if status in SIGNALLED:
            ignore_signals()
            exit_fast(status)
    gc_control.prepare_for_exit()
    stop_timers()
    sys.exit(status)


def _run(received: Received) -> int:
    """Run the command and return its exit status; every failure but a signal becomes a message and a status."""
    from lrfinder.cli.process import several
    from lrfinder.cli.process.stdout import stdout_guard
    from lrfinder.cli.process.user_code import Carried
    from lrfinder.engine.runtime.signals import Terminated
    from lrfinder.errors import LrfinderError

    try:
        if several.is_follower():
            return several.follow_command()
        from lrfinder.cli.answers import failures
        from lrfinder.cli.answers.output import remember_json, show_own_warnings
        from lrfinder.cli.app import app

        remember_json(sys.argv[1:])
        show_own_warnings()
        try:
            app()
        except SystemExit as ended:
            behind = getattr(ended.__context__, "__cause__", None)
            if isinstance(behind, KeyboardInterrupt):  # Typer leaves without a word
                raise behind from None
            status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
            if isinstance(ended.__context__, BrokenPipeError):  # nobody reads what --help prints: no failure
                status = 0
            elif status:
                failures.report_usage(ended)
        with stdout_guard():  # the buffer may still hold what a library printed
            return status
    except (KeyboardInterrupt, Terminated):
        raise
    except BaseException as error:  # noqa: BLE001 - the one place where every failure becomes a message and a status
        if isinstance(error, Carried) and error.__cause__ is not None:
            error = error.__cause__
        # An error of ours is reported as it is; behind any other one there may be a signal.
        return _report(error if isinstance(error, LrfinderError) else received.behind(error))


def _report(error: BaseException) -> int:
    from lrfinder.cli.answers import failures

    return failures.report(error)
