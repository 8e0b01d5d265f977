"""Lines of JSON to the process that started this one."""

from __future__ import annotations

import json
import math
import os
import time
from typing import Any

EVERY_S = 0.05  # losses wait so long for others: each message wakes the process that reads them


class Messages:
    """Writes messages whole: the process may be killed at any time, and forked ones write, too.

    Losses that come fast are written together; all else, and what waits before it, at once.
    """

    def __init__(self, handle: int) -> None:
        os.set_inheritable(handle, False)  # noqa: FBT003 - programs that the script starts don't get it
        self._handle = handle
        self._leave = os._exit  # as it was before it is watched
        self._waiting: list[str] = []  # lines
        self._until = -math.inf  # how long losses wait, by `time.monotonic`
        os.register_at_fork(after_in_child=self._forget)

    def send(self, kind: str, **content: Any) -> None:
        """Send one message. If nobody reads any more, this process has nothing left to do."""
        self._waiting.append(json.dumps({"kind": kind, **content}) + "\n")
        now = time.monotonic()
        if kind != "loss" or now >= self._until:
            self._write(now)

    def send_loss(self, loss: float, updates: int) -> None:
        """Send a finite loss as `send` does: `json.dumps` would take longer than all that is done for an update."""
        self._waiting.append(f'{{"kind": "loss", "loss": {loss!r}, "updates": {updates}}}\n')
        now = time.monotonic()
        if now >= self._until:
            self._write(now)

    def _forget(self) -> None:
        """Leave what waits to the process that this one was forked from."""
        self._waiting = []

    def _write(self, now: float) -> None:
        waiting, self._waiting, self._until = self._waiting, [], now + EVERY_S
        lines = "".join(waiting).encode()
        try:
            while lines:
                lines = lines[os.write(self._handle, lines) :]
        except BrokenPipeError:
            self._leave(1)
