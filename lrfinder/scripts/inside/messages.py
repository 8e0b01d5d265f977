"""Lines of JSON to the process that started this one."""

from __future__ import annotations

import json
import os
from typing import Any


class Messages:
    """Writes each message at once, whole: the process may be killed at any time, and forked ones write, too."""

    def __init__(self, handle: int) -> None:
        os.set_inheritable(handle, False)  # noqa: FBT003 - programs that the script starts don't get it
        self._handle = handle
        self._write, self._leave = os.write, os._exit  # as they were before anything is watched

    def send(self, kind: str, **content: Any) -> None:
        """Send one message. If nobody reads any more, this process has nothing left to do."""
        line = (json.dumps({"kind": kind, **content}) + "\n").encode()
        try:
            while line:
                line = line[self._write(self._handle, line) :]
        except BrokenPipeError:
            self._leave(1)
