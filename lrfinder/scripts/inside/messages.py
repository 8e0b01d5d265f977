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
        self._handle, self._owner = handle, os.getpid()
        self._leave = os._exit  # as it was before it is watched
        self._waiting: list[dict[str, Any]] = []
        self._written = -math.inf  # when, by `time.monotonic`

    def send(self, kind: str, **content: Any) -> None:
        """Send one message. If nobody reads any more, this process has nothing left to do."""
        messages = [{"kind": kind, **content}]
        if os.getpid() == self._owner:  # a process that was forked has a copy of what waits
            now = time.monotonic()
            self._waiting += messages
            if kind == "loss" and now < self._written + EVERY_S:
                return
            messages, self._waiting, self._written = self._waiting, [], now
        lines = "".join(json.dumps(message) + "\n" for message in messages).encode()
        try:
            while lines:
                lines = lines[os.write(self._handle, lines) :]
        except BrokenPipeError:
            self._leave(1)
