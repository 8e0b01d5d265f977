"""Child processes (the workers of a loader) end with the command, even if it is killed and can't end them itself."""

from __future__ import annotations

import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # of prctl(2): the signal that a process gets when its parent dies

_command_pid = 0  # 0 until kill_children_on_death is called
_forking_pid = 0  # the process that is about to fork


def kill_children_on_death() -> None:
    """Have Linux kill the children that this process forks from now on when this process dies.

    Children of the children are left alone. Does nothing on other systems: there torch's workers look for their parent
    every five seconds, between two batches.
    """
    global _command_pid  # noqa: PLW0603 - fork hooks can't be removed: they are registered once and read this
    if sys.platform != "linux":
        return
    if _command_pid == 0:
        os.register_at_fork(before=_remember_parent, after_in_child=_ask_for_signal)
    _command_pid = os.getpid()


def _remember_parent() -> None:
    global _forking_pid  # noqa: PLW0603 - the only way from the parent into the child
    _forking_pid = os.getpid()


def _ask_for_signal() -> None:
    import ctypes

    if _forking_pid != _command_pid:
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != _command_pid:  # it died before the line above
        os._exit(1)
