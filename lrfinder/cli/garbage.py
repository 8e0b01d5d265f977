"""When Python looks for garbage: while the user's code runs, and not before.

It looks for objects that only hold each other, again and again while many are made, and once more when the process
ends. Importing makes a million of them (torch and its compiler, which `torch.optim` loads) and leaves no garbage: to
look for some takes a third of the time of a short sweep from start to end.
"""

from __future__ import annotations

import gc


def disable_for_startup() -> None:
    """Look for no garbage from here on."""
    gc.disable()


def enable() -> None:
    """Look for the garbage of what comes from here on; what is there by now is passed over, also at the end."""
    gc.freeze()
    gc.enable()


def freeze_for_exit() -> None:
    """Have the end of the process pass over what it holds, where no code of the user's has run."""
    if not gc.isenabled():
        gc.freeze()
