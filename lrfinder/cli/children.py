"""Child processes of a command end with it, also where it is killed and can't end them."""

from __future__ import annotations

import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # of prctl(2): the signal that a process gets when its parent dies

_command = 0  # the process of the command, 0 before there is one
_forking = 0  # the process that is about to fork


def kill_children_on_death() -> None:
    """Have the system kill the children that this process forks from now on (a loader's workers) when it dies.

    Their own children are left alone. Does nothing where the system knows no such thing: a worker of torch's then looks
    for its parent every five seconds, between two batches.
    """
    global _command  # noqa: PLW0603 - hooks can't be taken back: they are registered once, and ask for this
    if sys.platform != "linux":
        return
    if _command == 0:
        os.register_at_fork(before=_note, after_in_child=_in_child)
    _command = os.getpid()


def _note() -> None:
    global _forking  # noqa: PLW0603 - the only way from the parent into the child
    _forking = os.getpid()


def _in_child() -> None:
    import ctypes

    if _forking != _command:
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != _command:  # it died before the line above
        os._exit(1)
