"""What other machines have kept of the user's files in the run under way: a folder may be one that they share."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

WAIT_S = 5.0  # for other machines to put back what they have kept later; one that is lost doesn't
_LOOK_S = 0.01


class KeptElsewhere:
    """Tells and asks through the store of the launcher, under a number for each run. Times are of the machines' clocks.

    `machines` are all of the job, by their numbers, and `here` is this one.
    """

    def __init__(self, store: Any, here: int, machines: int) -> None:
        self._store, self._here = store, here
        self._others = [number for number in range(machines) if number != here]
        self._run = 0
        self._ahead = (
            time.time() - time.monotonic()
        )  # once, so that all machines put the same times into the same order

    def run_started(self) -> None:
        """Begin with another run; every machine calls it equally often."""
        self._run += 1

    def tell(self, kept: Mapping[str, float]) -> None:
        """Tell what this machine has kept so far, and when, by `time.monotonic`."""
        with _store_may_be_gone():
            at = {path: at + self._ahead for path, at in kept.items()}
            self._store.set(self._key("kept", self._here), json.dumps(at))

    def kept(self) -> dict[str, float] | None:
        """Return what other machines have kept, and when, as this one's `time.monotonic` would say; None: not known."""
        found: dict[str, float] = {}
        with _store_may_be_gone():
            for key in self._there("kept"):
                for path, at in json.loads(self._store.get(key)).items():
                    found[path] = min(at - self._ahead, found.get(path, math.inf))
            return found
        return None

    def wait_for_later(self) -> None:
        """Wait until every machine has put back what others have kept earlier: then those may."""
        with _store_may_be_gone():
            self._store.set(self._key("put_back", self._here), "")
            until = time.monotonic() + WAIT_S
            while len(self._there("put_back")) < len(self._others) and time.monotonic() < until:
                time.sleep(_LOOK_S)

    def _there(self, what: str) -> list[str]:
        keys = [self._key(what, number) for number in self._others]
        return [key for key in keys if self._store.check([key])]

    def _key(self, what: str, machine: int) -> str:
        return f"{what}/{self._run}/{machine}"


@contextlib.contextmanager
def _store_may_be_gone() -> Iterator[None]:
    with contextlib.suppress(RuntimeError):  # torch's errors of a store are such
        yield
