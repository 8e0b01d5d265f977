"""The store of the launcher: what rank 0 wants the other processes for, and names that no two joins share."""

from __future__ import annotations

import copy
import itertools
import json
import os
import time
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

from lrfinder.engine.distributed.environment import Place

JOIN_S = 120.0  # seconds within which all processes must have come
POLL_S = 0.005  # seconds between two looks for an order

_CALL = "call"
_joins = itertools.count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What rank 0 wants the others for: a training on `device`, or a training script (`scripts`).

    Neither: nothing any more, and the command ends with `status`.
    """

    device: str | None = None
    scripts: bool = False
    status: int = 0


def store_of(place: Place, prefix: str = "") -> Any:
    """Return a new connection to the store of the launcher; all its keys begin with the prefix, if there is one."""
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = TCPStore(host, port, place.size, is_master=False, timeout=timedelta(seconds=JOIN_S))
    return PrefixStore(prefix, store) if prefix else store


def next_prefix() -> str:
    """Return the prefix of all keys of the next join; processes that join equally often get the same ones."""
    return _prefix(next(_joins))


def call(store: Any, wanted: Call) -> None:
    """Tell the others what they are wanted for; `store` has the prefix of a join."""
    store.set(_CALL, json.dumps(asdict(wanted)))


def wait_for_call(place: Place) -> Call:
    """Wait until rank 0 says what this process is wanted for. For who only follows, and hasn't joined yet."""
    store = store_of(place, _prefix(0))
    while not store.check([_CALL]):
        time.sleep(POLL_S)
    return Call(**json.loads(store.get(_CALL)))


def dismiss(place: Place, status: int) -> None:
    """Let the others go, if rank 0 has never called them: the command ends with `status`."""
    if next(copy.copy(_joins)) == 0:  # it hasn't joined
        call(store_of(place, _prefix(0)), Call(status=status))


def _prefix(number: int) -> str:
    return f"lrfinder/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}/{number}"
