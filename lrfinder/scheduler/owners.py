"""Who else may set the rates of a live optimizer: other schedulers, and trainers that hold it."""

from __future__ import annotations

import gc
from typing import Any

_TORCHS = frozenset({"LRScheduler", "_LRScheduler"})  # the base of torch's own, by its names


def other_owners(optimizer: object, scheduler: object) -> list[str] | None:
    """Return the names of the classes that hold `optimizer` beside `scheduler`; None if one of them drives it.

    Schedulers alone, if there is any; else everything that has the optimizer as an attribute. A `SequentialLR` that
    `scheduler` is a part of sets the rates by request. Every object of the process is looked at: some 0.1 s.
    """
    found = [it for it in _holders(optimizer) if it is not scheduler and not _is_optimizer(it)]
    if any(scheduler in _parts(holder) for holder in found):
        return None
    schedulers = [it for it in found if _is_scheduler(it)]
    return sorted({type(it).__name__ for it in schedulers or found})


def unheard_monitor(scheduler: object) -> str | None:
    """Return the `monitor` that Lightning was given for a scheduler and doesn't hand over; None if there is none.

    Lightning steps such a scheduler once an epoch. Every object of the process is looked at, as by `other_owners`.
    """
    configs = [vars(it) for it in _holders(scheduler) if type(it).__name__ == "LRSchedulerConfig"]
    alone = [it for it in configs if it.get("interval") == "epoch" and not it.get("reduce_on_plateau")]
    return next((str(it["monitor"]) for it in alone if it.get("monitor")), None)


def _holders(held: object) -> list[Any]:
    """Return the objects that have `held` as an attribute."""
    direct = gc.get_referrers(held)
    namespaces = [it for it in direct if type(it) is dict]
    owners = gc.get_referrers(*namespaces) if namespaces else []
    known = {id(it) for it in namespaces}
    found = [it for it in owners if id(getattr(it, "__dict__", None)) in known]
    # From Python 3.11 on an object may hold its attributes without a dictionary.
    return [it for it in (*direct, *found) if type(it).__module__ not in {"builtins", "weakref", "functools"}]


def _is_optimizer(holder: object) -> bool:
    return any(kind.__name__ == "Optimizer" for kind in type(holder).__mro__)


def _is_scheduler(holder: object) -> bool:
    names = {kind.__name__ for kind in type(holder).__mro__}
    return bool(names & _TORCHS) or "schedul" in type(holder).__name__.lower()


def _parts(holder: object) -> list[object]:
    """Return the schedulers that torch's SequentialLR or ChainedScheduler drives."""
    parts = getattr(holder, "_schedulers", None) if _is_scheduler(holder) else None
    return list(parts) if isinstance(parts, list | tuple) else []
