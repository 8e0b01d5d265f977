"""Keep the garbage collector off until the user's code runs.

Importing torch and its compiler makes a million objects and leaves no garbage. With the collector on, Python would
search them hundreds of times, and once more at the end: a third of the time of a short sweep.
"""

from __future__ import annotations

import gc
import sys

_NANOBIND = frozenset({"triton", "nanobind"})  # torch loads triton, if it is installed


def disable_for_startup() -> None:
    """Turn the garbage collector off."""
    gc.disable()


def enable() -> None:
    """Turn the garbage collector on; the objects that exist now are never searched, not even at the end."""
    gc.freeze()
    gc.enable()


def prepare_for_exit() -> None:
    """Skip the search at the end of the process if no user code has run.

    Modules that are made with nanobind print all of their types at the end that the search didn't find: if one may be
    there, everything is searched.
    """
    if _NANOBIND & sys.modules.keys():
        gc.unfreeze()
    elif not gc.isenabled():
        gc.freeze()
